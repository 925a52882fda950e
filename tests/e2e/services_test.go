package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dewpaas/dew/store/postgres/pgtest"
)

// TestRealDatabases: the example broker hands out real PostgreSQL databases to
// apps, through the API, and the example app keeps its entries in one.
func TestRealDatabases(t *testing.T) {
	admin := pgtest.Server(t)
	config, err := pgx.ParseConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	at := freeAddress(t)
	_, port, _ := strings.Cut(at, ":")
	start(t, at, []string{"ADMIN_URL=" + admin, "BROKER_USER=u", "BROKER_PASSWORD=p", "PORT=" + port, "PUBLIC_HOST=127.0.0.1:" + itoa(config.Port)},
		build(t, filepath.Join("..", "..", "examples", "postgres-broker")))
	p := newPlatform(t)
	space := p.space()
	app := guid(p.do("POST", "/v3/apps", `{"name":"guestbook","relationships":{`+to("space", space)+`}}`))
	p.do("POST", "/v3/service_brokers", `{"name":"pg","url":"http://`+at+`","authentication":{"type":"basic","credentials":{"username":"u","password":"p"}}}`)
	plan := guid(p.do("GET", "/v3/service_plans?service_offering_names=postgres", ""))
	instance := func(name string) string {
		p.do("POST", "/v3/service_instances", `{"type":"managed","name":"`+name+`","relationships":{`+to("space", space)+`,`+to("service_plan", plan)+`}}`)
		return guid(p.do("GET", "/v3/service_instances?names="+name, ""))
	}
	mine, other := instance("mine"), instance("other")
	p.do("POST", "/v3/service_credential_bindings", `{"type":"app","relationships":{`+to("app", app)+`,`+to("service_instance", mine)+`}}`)
	p.do("POST", "/v3/service_credential_bindings", `{"type":"key","name":"k","relationships":{`+to("service_instance", mine)+`}}`)
	services, err := json.Marshal(p.do("GET", "/v3/apps/"+app+"/env", "")["system_env_json"].(map[string]any)["VCAP_SERVICES"])
	if err != nil {
		t.Fatal(err)
	}

	book := freeAddress(t)
	_, bookPort, _ := strings.Cut(book, ":")
	start(t, book, []string{"VCAP_SERVICES=" + string(services), "PORT=" + bookPort}, build(t, filepath.Join("..", "..", "examples", "guestbook")))
	for _, entry := range []string{"first", "second"} {
		answer, err := http.Post("http://"+book+"/", "text/plain", strings.NewReader(entry))
		if err != nil || answer.StatusCode != http.StatusCreated {
			t.Fatalf("write: %v %v", answer, err)
		}
		answer.Body.Close()
	}
	answer, err := http.Get("http://" + book + "/")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || string(text) != "second\nfirst\n" {
		t.Fatalf("read: %q, %v", text, err)
	}

	key := guid(p.do("GET", "/v3/service_credential_bindings?type=key&service_instance_guids="+mine, ""))
	credentials := p.do("GET", "/v3/service_credential_bindings/"+key+"/details", "")["credentials"].(map[string]any)
	uri := credentials["uri"].(string)
	lookAround(t, uri, strings.Replace(uri, credentials["name"].(string), "db_"+strings.ReplaceAll(other, "-", ""), 1))

	for _, binding := range p.do("GET", "/v3/service_credential_bindings?service_instance_guids="+mine, "")["resources"].([]any) {
		p.do("DELETE", "/v3/service_credential_bindings/"+binding.(map[string]any)["guid"].(string), "")
	}
	if _, err := pgx.Connect(context.Background(), uri); err == nil {
		t.Error("the role of a key that was deleted still connects")
	}
	p.do("DELETE", "/v3/service_instances/"+mine, "")
	p.do("DELETE", "/v3/service_instances/"+other, "")
	nothingLeft(t, admin)
}

func itoa(port uint16) string {
	text, _ := json.Marshal(port) // a number
	return string(text)
}

// lookAround: one binding sees what another of the same database wrote, and
// nothing of other databases.
func lookAround(t *testing.T, uri, foreign string) {
	t.Helper()
	ctx := context.Background()
	c := connect(t, uri)
	defer c.Close(ctx)
	var n int
	if err := c.QueryRow(ctx, "SELECT COUNT(*) FROM entries").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d entries, %v: want the two of the other binding", n, err)
	}
	if _, err := c.Exec(ctx, "CREATE ROLE more SUPERUSER"); err == nil {
		t.Error("a binding can make roles")
	}
	if c, err := pgx.Connect(ctx, foreign); err == nil {
		c.Close(ctx)
		t.Error("a binding reaches another instance's database")
	}
}

func connect(t *testing.T, uri string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), uri)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func nothingLeft(t *testing.T, admin string) {
	t.Helper()
	ctx := context.Background()
	c := connect(t, admin)
	defer c.Close(ctx)
	var databases, roles int
	if err := c.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM pg_database WHERE datname LIKE 'db\_%'), (SELECT COUNT(*) FROM pg_roles WHERE rolname LIKE 'user\_%' OR rolname LIKE 'owner\_%')`).Scan(&databases, &roles); err != nil || databases+roles != 0 {
		t.Errorf("%d databases and %d roles are left, %v", databases, roles, err)
	}
}
