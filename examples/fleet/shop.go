package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/sqlstore"
)

// shop is what the site is about. Its handlers stand behind the middleware, which
// lets nobody through but agents who act for a user.
type shop struct {
	db     *sql.DB
	grants *sqlstore.Grants
}

// maxBody is more than any form of the shop needs.
const maxBody = 16 << 10

func (s *shop) orders(w http.ResponseWriter, r *http.Request) {
	who, _ := authagent.FromContext(r.Context())
	var n int
	if err := s.db.QueryRowContext(r.Context(), `SELECT COUNT(*) FROM fleet_orders WHERE user_id = $1`, who.UserID).Scan(&n); err != nil {
		fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"orders": n})
}

// order places an order, once for each Idempotency-Key, so that an agent that
// got no answer can ask again.
func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	s.perform(w, r, func(ctx context.Context, who *authagent.Session, key string) error {
		_, err := s.db.ExecContext(ctx, `INSERT INTO fleet_orders (user_id, request_key, performed_by, deed, item) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT DO NOTHING`, who.UserID, key, who.Agent.ID, audit.DeedFrom(ctx), r.PostFormValue("item"))
		return err
	})
}

// payout is made once for each approval of the owner's, which names the
// Idempotency-Key. One transaction makes it and uses the approval: if the instance is
// killed, both are there, or neither.
func (s *shop) payout(w http.ResponseWriter, r *http.Request) {
	reserved := action.ReservationFrom(r.Context())
	reserved.NothingDone() // counts until Use is called; from then on, the transaction decides
	s.perform(w, r, func(ctx context.Context, who *authagent.Session, key string) error {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := s.grants.Use(ctx, tx, reserved); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO fleet_payouts (user_id, request_key, performed_by, deed) VALUES ($1, $2, $3, $4)`,
			who.UserID, key, who.Agent.ID, audit.DeedFrom(ctx)); err != nil {
			return err
		}
		return tx.Commit()
	})
}

// perform does what an agent asks for under an Idempotency-Key.
func (s *shop) perform(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, who *authagent.Session, key string) error) {
	who, _ := authagent.FromContext(r.Context())
	key := r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > 255 {
		http.Error(w, "An Idempotency-Key is needed.", http.StatusBadRequest)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := do(r.Context(), who, key); err != nil {
		fail(w, r, err)
		return
	}
	slog.Info("done", "route", r.Pattern, "request", key, "agent", who)
	writeJSON(w, http.StatusCreated, map[string]string{"done": key})
}

func me(w http.ResponseWriter, r *http.Request) {
	who, _ := authagent.FromContext(r.Context())
	writeJSON(w, http.StatusOK, who)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has gone
}

// fail says that the site is at fault, and for now only.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	slog.Error("request failed", "route", r.Pattern, "err", err)
	w.Header().Set("Retry-After", "5")
	http.Error(w, "Something went wrong at this site. Try again later.", http.StatusServiceUnavailable)
}
