package grants

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/panics"
	"github.com/authagent-go/authagent/messages"
)

// A Locale is how an owner reads.
type Locale struct {
	// Language is the tag of one of authagent.Config.Languages. If it is empty, the page is in
	// the language of the browser, and mails are in the first of the languages.
	Language string

	Zone *time.Location // nil means UTC
}

// Introduce is for [authagent.New], which calls it: see [authagent.LinkPolicy]. It logs a warning if
// ApproveByConsent is set and lets in no agent of this site's issuer.
func (p *Policy) Introduce(site authagent.Site) {
	p.site.CompareAndSwap(nil, &site)
	p.measure(site.Metrics)
	if why := p.noConsent(site); why != "" {
		p.logger().Warn("grants: Policy.ApproveByConsent has no effect on agents of this issuer", "issuer", site.Issuer, "why", why)
	}
}

// languages are those of the site, and English before a relying party uses the policy.
func (p *Policy) languages() []*messages.Language {
	if site := p.site.Load(); site != nil {
		return site.Languages
	}
	return []*messages.Language{p.english()}
}

// OwnerPage is for [authagent.New], which tells it to agents that wait: see [authagent.LinkPolicy].
// Requests have comparison codes unless only owners connect agents.
func (p *Policy) OwnerPage() (path string, compares bool) { return p.path(), !p.OwnerStartedOnly }

// A reader is an owner to whom something is shown or told.
type reader struct {
	*messages.Language
	zone *time.Location
	now  time.Time
}

// reader returns how an owner reads. language is that of the browser; nil if there is none.
func (p *Policy) reader(ctx context.Context, userID string, language *messages.Language) reader {
	languages := p.languages()
	to := reader{cmp.Or(language, languages[0]), time.UTC, time.Now()}
	locale, err := p.locale(ctx, userID)
	if err != nil { // a time zone is no reason to show nothing
		p.logger().Warn("grants: Policy.Locale failed", "on_behalf_of", userID, "err", err)
		return to
	}
	if chosen := messages.Find(locale.Language, languages); locale.Language != "" && chosen != nil {
		to.Language = chosen
	}
	to.zone = cmp.Or(locale.Zone, time.UTC)
	return to
}

func (p *Policy) locale(ctx context.Context, userID string) (l Locale, err error) {
	if p.Locale == nil {
		return Locale{}, nil
	}
	if failed := panics.Catch(func() error { l, err = p.Locale(ctx, userID); return err }); failed != nil {
		return Locale{}, fmt.Errorf("grants: ask for the owner's locale: %w", failed)
	}
	return l, nil
}

// codes returns the comparison codes of a request, the one that its agent is shown first.
// There are none before a relying party uses the policy.
func (p *Policy) codes(g Grant) []string {
	site := p.site.Load()
	if site == nil || site.Compare == nil {
		return nil
	}
	return site.Compare(g.Agent, cmp.Or(g.Subject, g.Email))
}
