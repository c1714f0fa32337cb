package sqlstore

import (
	"context"
	"fmt"
	"strings"
)

// Text goes to MySQL and comes back as bytes. Otherwise the server takes it for what
// the connection's charset says, and makes question marks of what that lacks: with
// charset=utf8, which has three bytes at most, of an emoji.

// bind returns a statement of this package as the engine gets it, with its arguments.
func (s *Store) bind(text string, args []any) (string, []any) {
	query := s.query(text)
	if s.dialect != MySQL {
		return query, args
	}
	var b strings.Builder
	bound := make([]any, len(args))
	for i, arg := range args {
		before, after, _ := strings.Cut(query, "?")
		b.WriteString(before)
		if text, ok := arg.(string); ok {
			b.WriteString("CAST(? AS BINARY)") // a driver may send bytes as it sends text
			arg = bytesOf(text)
		} else {
			b.WriteString("?")
		}
		bound[i], query = arg, after
	}
	b.WriteString(query)
	return b.String(), bound
}

// reading returns columns to SELECT. Those with these names are text at MySQL.
func reading(columns string, text ...string) string {
	all := strings.Split(columns, ",")
	for i, column := range all {
		column = strings.TrimSpace(column)
		for _, name := range text {
			if column == name {
				column = "{" + name + "}"
			}
		}
		all[i] = column
	}
	return strings.Join(all, ", ")
}

// readText writes the columns that reading has marked as the engine wants them.
func (d Dialect) readText(query string) string {
	if d == MySQL {
		return strings.NewReplacer("{", "CAST(", "}", " AS BINARY)").Replace(query)
	}
	return strings.NewReplacer("{", "", "}", "").Replace(query)
}

// checkEncoding returns ErrEncoding where some text could not be stored, or would be
// another one to programs that connect in another way.
func (s *Store) checkEncoding(ctx context.Context) error {
	switch s.dialect {
	case Postgres:
		var server, client string
		err := s.db.QueryRowContext(ctx, `SELECT current_setting('server_encoding'), current_setting('client_encoding')`).Scan(&server, &client)
		switch {
		case err != nil:
			return err
		case server == "SQL_ASCII": // keeps bytes as they are
			return nil
		case server != "UTF8":
			return fmt.Errorf("%w (server_encoding is %s)", ErrEncoding, server)
		case client != "UTF8":
			return fmt.Errorf("%w (client_encoding, a setting of the connection, is %s)", ErrEncoding, client)
		}
	case MySQL:
		var wrong int
		err := s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()
			AND LEFT(table_name, CHAR_LENGTH(?)) = ? AND character_set_name <> 'utf8mb4'`, s.prefix, s.prefix).Scan(&wrong)
		switch {
		case err != nil:
			return err
		case wrong > 0:
			return fmt.Errorf("%w (%d columns have another CHARACTER SET)", ErrEncoding, wrong)
		}
	}
	return nil
}
