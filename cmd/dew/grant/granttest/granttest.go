package granttest

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store"
	"github.com/dewpaas/dew/store/sqlite"
)

// The secrets begin so; what follows says whose they are.
const (
	Secret = "SECRET-"
	Mine   = Secret + "mine" // of the tenant on cell c1, of the app that stager s1 builds
	Near   = Secret + "near" // of the one on cell c2 that a policy connects with it
	Far    = Secret + "far"  // of the one on cell c2
	House  = Secret + "house"
)

// Digest is a SHA-256 of a tenant's: of its droplet, or of its package.
func Digest(what, tenant string) string {
	return strings.Repeat(map[string]string{"droplet": "d", "package": "e"}[what]+map[string]string{"mine": "1", "near": "2", "far": "3"}[tenant], 32)
}

// Ledger makes it. A record's GUID is its sort and its tenant: "app-far". Build-mine
// is leased by stager s1, build-far by s2, build-near by nobody.
func Ledger(t testing.TB) *store.DB {
	t.Helper()
	db, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	records := append(foundation(), tenant("mine", "c1", "s1")...)
	records = append(records, tenant("near", "c2", "")...)
	records = append(records, tenant("far", "c2", "s2")...)
	records = append(records,
		&cf.NetworkPolicy{Meta: at("policy-near"), SourceGUID: "app-mine", DestinationGUID: "app-near", Protocol: "tcp", StartPort: 8080, EndPort: 8080},
		&cf.NetworkPolicy{Meta: at("policy-far"), SourceGUID: "app-near", DestinationGUID: "app-far", Protocol: "tcp", StartPort: 8080, EndPort: 8080})
	err = db.Update(context.Background(), func(tx cf.Tx) error {
		for _, r := range records {
			if err := tx.Insert(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// at is a record's common part, with a secret in it that its owner may have put there.
func at(guid string) cf.Meta {
	return cf.Meta{GUID: guid, Labels: map[string]string{"label": House}, Annotations: map[string]string{"note": House}}
}

// foundation is what belongs to no tenant.
func foundation() []cf.Record {
	return []cf.Record{
		&cf.Quota{Meta: at("quota"), Name: "q"},
		&cf.Account{Meta: at("account"), Username: "admin", Hash: House},
		&cf.Client{Meta: at("client"), Hash: House},
		&cf.Revocation{Meta: at("revocation")},
		&cf.User{Meta: at("user"), Username: "admin"},
		&cf.Domain{Meta: at("domain-shared"), Name: "apps.test"},
		&cf.Domain{Meta: at("domain-internal"), Name: "apps.internal", Internal: true},
		&cf.SecurityGroup{Meta: at("group-default"), Name: "default", Running: true, Rules: []cf.Rule{{Protocol: cf.TCP, Destination: "0.0.0.0/0", Ports: "443"}}},
		&cf.Setting{Meta: at(cf.RunningEnv), Env: map[string]string{"A": House}},
		&cf.Setting{Meta: cf.Meta{GUID: cf.StagingEnv}, Env: map[string]string{"B": "staging"}},
		&cf.Setting{Meta: at(cf.FoundationSetting), Env: map[string]string{"url": "https://api.test", "domain": "apps.test", "hosts": "api.test", "token_key": House, "protected": "192.0.2.1/32 the ledger"}},
		&cf.Lease{Meta: cf.Meta{GUID: cf.SchedulerLease}, Holder: "sch-1", Token: 1},
		&cf.Job{Meta: at("job"), Operation: "app.delete", State: "PROCESSING"},
		&cf.Cell{Meta: cf.Meta{GUID: "c1"}, Zone: "z1", MemoryMB: 1024, Guests: "10.251.1.0/24"},
		&cf.Cell{Meta: at("c2"), Zone: "z2", MemoryMB: 1024, Guests: "10.251.2.0/24"},
		&cf.ServiceBroker{Meta: at("broker"), Name: "b", Username: "u", Password: House},
		&cf.ServiceOffering{Meta: at("offering"), BrokerGUID: "broker", Name: "postgres", CatalogID: "o"},
		&cf.ServicePlan{Meta: at("plan"), OfferingGUID: "offering", Name: "small", CatalogID: "p"},
		&cf.ServiceWork{Meta: at("work"), Verb: cf.Bind, Broker: cf.ServiceBroker{Password: House}},
	}
}

// tenant is an organization with one app on a cell, and a build that a stager has.
func tenant(name, cell, stager string) []cf.Record {
	secret := Secret + name
	id := func(sort string) string { return sort + "-" + name }
	m := func(sort string) cf.Meta { return at(id(sort)) }
	launch := cf.Launch{DropletSHA256: Digest("droplet", name), Env: map[string]string{"PASSWORD": secret}}
	address := map[string]string{"mine": "10.251.1.2", "near": "10.251.2.2", "far": "10.251.2.3"}[name]
	by := cf.Actor{GUID: "user", Type: "user", Name: House}
	meta := m("app")
	meta.Labels = nil // a build is told of its own app
	meta.Annotations = nil
	list := []cf.Record{
		&cf.Organization{Meta: m("org"), Name: id("org"), QuotaGUID: "quota"},
		&cf.Space{Meta: m("space"), Name: id("space"), OrgGUID: id("org")},
		&cf.Role{Meta: m("role"), Type: cf.SpaceDeveloper, UserGUID: "user", SpaceGUID: id("space")},
		&cf.App{Meta: meta, Name: id("app"), SpaceGUID: id("space"), State: cf.Started, Env: map[string]string{"PASSWORD": secret}},
		&cf.Process{Meta: m("process"), AppGUID: id("app"), SpaceGUID: id("space"), Type: "web", Launch: &launch},
		&cf.Package{Meta: cf.Meta{GUID: id("package")}, AppGUID: id("app"), SpaceGUID: id("space"), State: "READY", Checksum: Digest("package", name)},
		&cf.Build{Meta: m("build"), AppGUID: id("app"), SpaceGUID: id("space"), PackageGUID: id("package"), State: "STAGING", CreatedBy: by},
		&cf.Droplet{Meta: m("droplet"), AppGUID: id("app"), SpaceGUID: id("space"), State: "STAGED", Checksum: Digest("droplet", name)},
		&cf.Deployment{Meta: m("deployment"), AppGUID: id("app"), SpaceGUID: id("space")},
		&cf.Revision{Meta: m("revision"), AppGUID: id("app"), SpaceGUID: id("space"), Version: 1, Env: map[string]string{"PASSWORD": secret}},
		&cf.Task{Meta: m("task"), AppGUID: id("app"), SpaceGUID: id("space"), State: cf.TaskRunning, Launch: launch},
		&cf.Domain{Meta: m("domain"), Name: name + ".test", OrgGUID: id("org")},
		&cf.DomainShare{Meta: m("share"), DomainGUID: id("domain"), OrgGUID: id("org")},
		&cf.Route{Meta: m("route"), SpaceGUID: id("space"), DomainGUID: id("domain"), Host: "www"},
		&cf.Route{Meta: m("inside"), SpaceGUID: id("space"), DomainGUID: "domain-internal", Host: name},
		&cf.Destination{Meta: m("destination"), RouteGUID: id("route"), AppGUID: id("app"), ProcessType: "web"},
		&cf.Destination{Meta: m("within"), RouteGUID: id("inside"), AppGUID: id("app"), ProcessType: "web"},
		&cf.SecurityGroup{Meta: m("group"), Name: id("group"), Rules: []cf.Rule{{Protocol: cf.TCP, Destination: "192.0.2.7", Ports: "5432"}}},
		&cf.GroupBinding{Meta: m("groupbinding"), GroupGUID: id("group"), SpaceGUID: id("space"), Stage: cf.Running},
		&cf.PlanVisibility{Meta: m("visibility"), PlanGUID: "plan", OrgGUID: id("org")},
		&cf.ServiceInstance{Meta: cf.Meta{GUID: id("instance")}, Name: id("instance"), SpaceGUID: id("space"), Type: "managed", PlanGUID: "plan", Credentials: map[string]any{"password": secret}},
		&cf.ServiceBinding{Meta: cf.Meta{GUID: id("binding")}, Type: "app", AppGUID: id("app"), InstanceGUID: id("instance"), SpaceGUID: id("space"), Credentials: map[string]any{"password": secret}, Last: cf.LastOperation{State: "succeeded"}},
		&cf.ServiceBinding{Meta: m("key"), Type: "key", Name: "k", InstanceGUID: id("instance"), SpaceGUID: id("space"), Credentials: map[string]any{"password": House}},
		&cf.Share{Meta: m("instanceshare"), InstanceGUID: id("instance"), SpaceGUID: id("space")},
		&cf.AuditEvent{Meta: m("event"), Type: "audit.app.update", Actor: by, Target: cf.Actor{GUID: id("app"), Type: "app"}, SpaceGUID: id("space"), OrgGUID: id("org")},
		&cf.Placement{Meta: m("placement"), AppGUID: id("app"), SpaceGUID: id("space"), ProcessGUID: id("process"), Type: "web", CellID: cell, Launch: &launch},
		&cf.Report{Meta: cf.Meta{GUID: id("placement")}, CellID: cell, AppGUID: id("app"), State: cf.InstanceRunning, Routable: true, Address: address, Host: "192.0.2.9:1", Details: secret},
		&cf.Crash{Meta: m("crash"), AppGUID: id("app"), CellID: cell, Console: secret},
		&cf.Restart{Meta: m("placement")},
	}
	if stager != "" {
		list = append(list, &cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease(id("build"))}, Holder: stager, Token: 1})
	}
	return list
}
