package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// databases makes databases and roles on the server. A database belongs to a
// role that cannot log in; roles of bindings act as that one, so that what one
// app makes another of the same database may change.
type databases struct {
	pool   *pgxpool.Pool
	public string
}

// errGone says that there is nothing to take away.
var errGone = errors.New("gone")

// Names are of letters, digits and underscores only: they are safe in SQL, which
// has no parameters for names.
func databaseName(instance string) string { return "db_" + plain(instance) }
func ownerName(instance string) string    { return "owner_" + plain(instance) }
func userName(binding string) string      { return "user_" + plain(binding) }

func plain(guid string) string { return strings.ToLower(strings.ReplaceAll(guid, "-", "")) }

const (
	duplicateObject   = "42710"
	duplicateDatabase = "42P04"
	undefinedObject   = "42704"
	invalidCatalog    = "3D000"
)

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func (d *databases) run(ctx context.Context, format string, names ...any) error {
	_, err := d.pool.Exec(ctx, fmt.Sprintf(format, names...))
	return err
}

// create makes the database of an instance, unless it is there.
func (d *databases) create(ctx context.Context, instance string) (fresh bool, err error) {
	owner, database := ownerName(instance), databaseName(instance)
	if err := d.run(ctx, "CREATE ROLE %s NOLOGIN", owner); err != nil && code(err) != duplicateObject {
		return false, fmt.Errorf("make the owner: %w", err)
	}
	// A role that is no superuser may give a database only to roles that it is
	// a member of.
	if err := d.run(ctx, "GRANT %s TO CURRENT_USER", owner); err != nil {
		return false, fmt.Errorf("join the owner: %w", err)
	}
	if err := d.run(ctx, "CREATE DATABASE %s OWNER %s CONNECTION LIMIT 50", database, owner); err != nil {
		if code(err) == duplicateDatabase {
			return false, nil
		}
		return false, fmt.Errorf("make the database: %w", err)
	}
	// Everybody may connect to a new database: only its own roles shall.
	return true, d.run(ctx, "REVOKE ALL ON DATABASE %s FROM PUBLIC", database)
}

// admit makes a role for a binding. Asked again, it gives it a new password: the
// first answer was not received, and the old one is not kept anywhere.
func (d *databases) admit(ctx context.Context, instance, binding string) (credentials map[string]any, fresh bool, err error) {
	owner, user, database, password := ownerName(instance), userName(binding), databaseName(instance), rand.Text()
	var there bool
	if err := d.pool.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", database).Scan(&there); err != nil {
		return nil, false, fmt.Errorf("look for the database: %w", err)
	}
	if !there {
		return nil, false, errGone
	}
	fresh = true
	err = d.run(ctx, "CREATE ROLE %s LOGIN PASSWORD '%s' IN ROLE %s", user, password, owner)
	if code(err) == duplicateObject {
		fresh = false
		err = d.run(ctx, "ALTER ROLE %s PASSWORD '%s'", user, password)
	}
	if err != nil {
		return nil, false, fmt.Errorf("make the role: %w", err)
	}
	for _, sql := range []string{"GRANT CONNECT, TEMPORARY ON DATABASE %[3]s TO %[2]s", "ALTER ROLE %[2]s IN DATABASE %[3]s SET ROLE TO %[1]s"} {
		if err := d.run(ctx, sql, owner, user, database); err != nil {
			return nil, false, fmt.Errorf("let the role in: %w", err)
		}
	}
	uri := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: d.public, Path: "/" + database}
	return map[string]any{"uri": uri.String(), "host": uri.Hostname(), "port": uri.Port(), "name": database, "username": user, "password": password}, fresh, nil
}

// expel ends the sessions of a binding's role and takes the role away. What it
// owns beside the owner's things goes to the owner.
func (d *databases) expel(ctx context.Context, instance, binding string) error {
	user := userName(binding)
	if err := d.run(ctx, "ALTER ROLE %s NOLOGIN", user); err != nil {
		if code(err) == undefinedObject {
			return errGone
		}
		return fmt.Errorf("lock the role: %w", err)
	}
	if _, err := d.pool.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", user); err != nil {
		return fmt.Errorf("end the role's sessions: %w", err)
	}
	if err := d.inside(ctx, instance, func(c *pgx.Conn) error {
		for _, sql := range []string{"REASSIGN OWNED BY %s TO " + ownerName(instance), "DROP OWNED BY %s"} {
			if _, err := c.Exec(ctx, fmt.Sprintf(sql, user)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil && code(err) != invalidCatalog {
		return fmt.Errorf("take the role's things: %w", err)
	}
	return d.run(ctx, "DROP ROLE %s", user)
}

// inside runs f connected to the database of an instance.
func (d *databases) inside(ctx context.Context, instance string, f func(*pgx.Conn) error) error {
	config := d.pool.Config().ConnConfig.Copy()
	config.Database = databaseName(instance)
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	return f(c)
}

// drop takes a database away, whoever uses it, and the roles that are left.
func (d *databases) drop(ctx context.Context, instance string) error {
	owner := ownerName(instance)
	gone := false
	if err := d.run(ctx, "DROP DATABASE %s WITH (FORCE)", databaseName(instance)); err != nil {
		if gone = code(err) == invalidCatalog; !gone {
			return fmt.Errorf("drop the database: %w", err)
		}
	}
	rows, err := d.pool.Query(ctx, "SELECT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles o ON o.oid = a.roleid WHERE o.rolname = $1 AND m.rolname LIKE 'user\\_%'", owner)
	if err != nil {
		return fmt.Errorf("list the roles: %w", err)
	}
	users, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list the roles: %w", err)
	}
	for _, user := range append(users, owner) {
		if err := d.run(ctx, "DROP ROLE IF EXISTS %s", user); err != nil {
			return fmt.Errorf("drop role %s: %w", user, err)
		}
	}
	if gone {
		return errGone
	}
	return nil
}
