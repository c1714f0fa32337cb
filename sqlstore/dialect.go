package sqlstore

import (
	"database/sql"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// A Dialect is a kind of SQL database.
type Dialect int8

const (
	Postgres Dialect = iota + 1 // PostgreSQL 10 or newer
	MySQL                       // MySQL 5.7 or newer, MariaDB 10.2 or newer, with InnoDB
	SQLite                      // SQLite 3.24 or newer
)

// engines has the engine of each Dialect.
var engines = [...]engine{Postgres: postgres{}, MySQL: mysql{}, SQLite: sqlite{}}

// String returns the engine's name.
func (d Dialect) String() string {
	e, err := d.engine()
	if err != nil {
		return "dialect(" + strconv.Itoa(int(d)) + ")"
	}
	return e.name()
}

func (d Dialect) engine() (engine, error) {
	if d < 1 || int(d) >= len(engines) {
		return nil, fmt.Errorf("sqlstore: unknown engine: Dialect %d is none of Postgres, MySQL and SQLite", int(d))
	}
	return engines[d], nil
}

// detect returns the dialect of a database. It knows the engine by the package of the
// driver's type.
func detect(db *sql.DB) (Dialect, error) {
	t := reflect.TypeOf(db.Driver())
	name := t.String()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for d := Dialect(1); int(d) < len(engines); d++ {
		for _, driver := range engines[d].drivers() {
			if strings.Contains(t.PkgPath(), driver) {
				return d, nil
			}
		}
	}
	return 0, fmt.Errorf("sqlstore: unknown engine: the driver is %s of %s; set Config.Dialect if it speaks to PostgreSQL, MySQL, MariaDB or SQLite",
		name, t.PkgPath())
}
