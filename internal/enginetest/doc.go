// Package enginetest tests package sqlstore on the real engines. It is a module
// of its own, so that a site that imports authagent downloads no driver.
//
// SQLite is always tested; PostgreSQL and MySQL or MariaDB where the environment
// names a database in which tables can be made and dropped:
//
//	AUTHAGENT_POSTGRES=postgres://postgres@127.0.0.1:5432/test
//	AUTHAGENT_MYSQL=root@tcp(127.0.0.1:3306)/test
package enginetest
