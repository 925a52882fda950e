package uaa

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/golang-jwt/jwt/v5"

	"github.com/dewpaas/dew/store/sqlite"
)

type bench struct {
	*Server
	http.Handler
	clock time.Time
}

func newBench(t testing.TB) *bench {
	db, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "l.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	key, err := Key(filepath.Join(t.TempDir(), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Server: New(db, key, "http://uaa"), clock: time.Now()}
	b.now = func() time.Time { return b.clock }
	b.SetCost(Cost{64, 1})
	if _, err := b.EnsureAdmin(context.Background(), func() (string, error) { return "right", nil }); err != nil {
		t.Fatal(err)
	}
	r := chi.NewRouter()
	b.Mount(r)
	b.Handler = r
	return b
}

func (b *bench) do(method, path, token, body string) (int, map[string]any) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "bearer "+token)
	} else {
		r.SetBasicAuth("cf", "")
	}
	if strings.HasPrefix(path, "/oauth") {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	var out map[string]any
	json.Unmarshal(w.Body.Bytes(), &out) // an empty body stays nil
	return w.Code, out
}

func (b *bench) login(user, password string) (int, map[string]any) {
	return b.do("POST", "/oauth/token", "", url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}.Encode())
}

func TestPasswordThenRefresh(t *testing.T) {
	b := newBench(t)
	code, body := b.login("admin", "right")
	if code != 200 || body["token_type"] != "bearer" {
		t.Fatalf("%d %v", code, body)
	}
	id, err := b.Check(context.Background(), body["access_token"].(string))
	if err != nil || id.Name != "admin" || !id.Has("cloud_controller.admin") {
		t.Fatalf("%+v, %v", id, err)
	}
	refresh := body["refresh_token"].(string)
	if _, err := b.Check(context.Background(), refresh); !errors.Is(err, ErrToken) {
		t.Errorf("a refresh token passed as an access token: %v", err)
	}
	b.clock = b.clock.Add(accessLife + time.Second)
	if _, err := b.Check(context.Background(), body["access_token"].(string)); !errors.Is(err, ErrToken) {
		t.Errorf("an expired token passed: %v", err)
	}
	code, body = b.do("POST", "/oauth/token", "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}.Encode())
	if code != 200 {
		t.Errorf("refresh: %d %v", code, body)
	}
}

func TestClaimsTheCLIReads(t *testing.T) {
	b := newBench(t)
	_, body := b.login("admin", "right")
	var c jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(body["access_token"].(string), &c); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"user_name", "user_id", "origin", "jti"} {
		if _, ok := c[name].(string); !ok {
			t.Errorf("claim %s is %v: the CLI panics unless it is a string", name, c[name])
		}
	}
}

func TestLockOut(t *testing.T) {
	b := newBench(t)
	for i := range maxFailures {
		code, body := b.login("admin", "wrong")
		if code != 401 || body["error"] != "unauthorized" {
			t.Fatalf("try %d: %d %v", i, code, body)
		}
	}
	if code, body := b.login("admin", "right"); code != 401 || !strings.Contains(body["error_description"].(string), "has been locked") {
		t.Errorf("a locked account: %d %v", code, body)
	}
	b.clock = b.clock.Add(lockFor + time.Second)
	if code, body := b.login("admin", "right"); code != 200 {
		t.Errorf("after the lock: %d %v", code, body)
	}
}

// TestClockSteps: a wall clock that is set, forward or back, ends what it must
// and no more: people log in, and sessions go on by their refresh token.
func TestClockSteps(t *testing.T) {
	for _, step := range []time.Duration{24 * time.Hour, -24 * time.Hour, -20 * 365 * 24 * time.Hour} {
		b := newBench(t)
		_, before := b.login("admin", "right")
		for range maxFailures {
			b.login("admin", "wrong")
		}
		b.clock = b.clock.Add(step)
		if code, body := b.login("admin", "right"); code != 200 {
			t.Errorf("%v: a lock outlives its time: %d %v", step, code, body)
		}
		_, err := b.Check(context.Background(), before["access_token"].(string))
		if step < 0 && err != nil || step > 0 && !errors.Is(err, ErrToken) {
			t.Errorf("%v: the token from before: %v", step, err)
		}
		code, body := b.do("POST", "/oauth/token", "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {before["refresh_token"].(string)}}.Encode())
		if code != 200 {
			t.Fatalf("%v: the session ended: %d %v", step, code, body)
		}
		if _, err := b.Check(context.Background(), body["access_token"].(string)); err != nil {
			t.Errorf("%v: a fresh token: %v", step, err)
		}
	}
}

func TestRateLimit(t *testing.T) {
	b := newBench(t)
	for range loginsAtOnce {
		b.do("POST", "/oauth/token", "", "grant_type=none")
	}
	if code, body := b.do("POST", "/oauth/token", "", "grant_type=none"); code != 429 {
		t.Errorf("got %d %v, want 429", code, body)
	}
	b.clock = b.clock.Add(2 * time.Second)
	if code, _ := b.do("POST", "/oauth/token", "", "grant_type=none"); code != 400 {
		t.Errorf("after two seconds: %d, want 400", code)
	}
}

func TestUsers(t *testing.T) {
	b := newBench(t)
	_, body := b.login("admin", "right")
	admin := body["access_token"].(string)
	user := `{"userName":"ann","password":"secret","origin":"","emails":[{"value":"ann","primary":true}]}`
	code, made := b.do("POST", "/Users", admin, user)
	if code != 201 || made["id"] == "" || made["origin"] != "uaa" {
		t.Fatalf("create: %d %v", code, made)
	}
	id := made["id"].(string)
	if code, _ := b.do("POST", "/Users", admin, user); code != 409 {
		t.Errorf("create again: %d, want 409", code)
	}
	_, body = b.login("ann", "secret")
	ann := body["access_token"].(string)
	for _, c := range []struct {
		method, path, token, body string
		want                      int
	}{
		{"GET", "/Users?filter=" + url.QueryEscape(`userName eq "ann" and origin eq "uaa"`), admin, "", 200},
		{"GET", "/Users?filter=" + url.QueryEscape(`userName sw "a"`), admin, "", 400},
		{"GET", "/Users", ann, "", 403},
		{"GET", "/Users", "x.y.z", "", 401},
		{"POST", "/Users", ann, user, 403},
		{"POST", "/Users", admin, `{"userName":"a b","password":"x"}`, 400},
		{"POST", "/Users", admin, `{"userName":"","password":"x"}`, 400},
		{"POST", "/Users", admin, `{"userName":"` + strings.Repeat("ü", 256) + `","password":"x"}`, 400},
		{"POST", "/Users", admin, `{"userName":"` + strings.Repeat("ü", 255) + `","password":"x"}`, 201},
		{"POST", "/Users", admin, `{"userName":"bob","password":""}`, 422},
		{"PUT", "/Users/" + id + "/password", ann, `{"oldPassword":"wrong","password":"n"}`, 401},
		{"PUT", "/Users/" + id + "/password", ann, `{"oldPassword":"secret","password":"n"}`, 200},
		{"PUT", "/Users/" + id + "/password", ann, `{"oldPassword":"n","password":"m"}`, 401}, // its sessions ended
		{"DELETE", "/Users/" + id, admin, "", 200},
		{"DELETE", "/Users/" + id, admin, "", 404},
	} {
		if code, body := b.do(c.method, c.path, c.token, c.body); code != c.want {
			t.Errorf("%s %s: %d %v, want %d", c.method, c.path, code, body, c.want)
		}
	}
}

func TestRevokeEndsTheSession(t *testing.T) {
	b := newBench(t)
	_, other := b.login("admin", "right")
	_, body := b.login("admin", "right")
	access, refresh := body["access_token"].(string), body["refresh_token"].(string)
	for _, token := range []string{refresh, access} {
		if code, body := b.do("DELETE", "/oauth/token/revoke/x", token, ""); code != 200 {
			t.Errorf("revoke: %d %v", code, body)
		}
	}
	if _, err := b.Check(context.Background(), access); !errors.Is(err, ErrToken) {
		t.Errorf("a revoked token passed: %v", err)
	}
	if code, _ := b.do("POST", "/oauth/token", "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}.Encode()); code != 401 {
		t.Errorf("a revoked session was refreshed: %d", code)
	}
	if _, err := b.Check(context.Background(), other["access_token"].(string)); err != nil {
		t.Errorf("another session of the same user ended too: %v", err)
	}
	if code, _ := b.do("DELETE", "/oauth/token/revoke/x", "x.y.z", ""); code != 401 {
		t.Errorf("revoking nonsense: %d", code)
	}
	b.clock = b.clock.Add(3 * refreshLife)
	if err := b.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestClients(t *testing.T) {
	b := newBench(t)
	_, body := b.login("admin", "right")
	admin := body["access_token"].(string)
	client := `{"client_id":"ci","client_secret":"s","authorities":["cloud_controller.read","cloud_controller.write"],"authorized_grant_types":["client_credentials"]}`
	for _, c := range []struct {
		method, path, token, body string
		want                      int
	}{
		{"POST", "/oauth/clients", admin, client, 201},
		{"POST", "/oauth/clients", admin, client, 409},
		{"POST", "/oauth/clients", admin, `{"client_id":"a b","client_secret":"s"}`, 400},
		{"POST", "/oauth/clients", admin, `{"client_id":"x","client_secret":"s","authorities":["root"]}`, 403},
		{"POST", "/oauth/clients", admin, `{"client_id":"x","client_secret":"s","authorized_grant_types":["password"]}`, 400},
		{"POST", "/oauth/clients", admin, `{"client_id":"looks","client_secret":"s","authorities":["cloud_controller.read","cloud_controller.global_auditor"]}`, 201},
		{"GET", "/oauth/clients/ci", admin, "", 200},
		{"GET", "/oauth/clients/none", admin, "", 404},
	} {
		if code, body := b.do(c.method, c.path, c.token, c.body); code != c.want {
			t.Errorf("%s %s %s: %d %v, want %d", c.method, c.path, c.body, code, body, c.want)
		}
	}
	form := func(secret string) string {
		return url.Values{"grant_type": {"client_credentials"}, "client_id": {"ci"}, "client_secret": {secret}}.Encode()
	}
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(form("s")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatalf("client credentials: %d %s", w.Code, w.Body)
	}
	token := got["access_token"].(string)
	id, err := b.Check(context.Background(), token)
	if err != nil || !id.Client || id.GUID != "ci" || id.Has("cloud_controller.admin") {
		t.Errorf("%+v, %v", id, err)
	}
	if code, _ := b.do("POST", "/oauth/clients", token, client); code != 403 {
		t.Errorf("a client makes clients: %d", code)
	}
	if code, _ := b.do("DELETE", "/oauth/clients/ci", admin, ""); code != 200 {
		t.Errorf("delete: %d", code)
	}
	if _, err := b.Check(context.Background(), token); !errors.Is(err, ErrToken) {
		t.Errorf("the token of a client that is gone: %v", err)
	}
}

// TestTokenKeys: whoever has the published key can check our tokens.
func TestTokenKeys(t *testing.T) {
	b := newBench(t)
	_, body := b.login("admin", "right")
	_, keys := b.do("GET", "/token_keys", "", "")
	k := keys["keys"].([]any)[0].(map[string]any)
	point := []byte{4}
	for _, name := range []string{"x", "y"} {
		half, err := base64.RawURLEncoding.DecodeString(k[name].(string))
		if err != nil {
			t.Fatal(err)
		}
		point = append(point, half...)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Parse(body["access_token"].(string), func(*jwt.Token) (any, error) { return public, nil })
	if err != nil || token.Header["kid"] != k["kid"] {
		t.Errorf("%v, %v", token, err)
	}
}

func TestHashesOfAnotherCost(t *testing.T) {
	h := hashes{make(chan struct{}, 1), Cost{64, 1}}
	old := h.Hash("secret")
	h.cost = Cost{128, 2}
	if !h.Match("secret", old) || h.Match("wrong", old) || !h.Match("secret", h.Hash("secret")) {
		t.Error("a hash of another cost does not match its secret, or matches another")
	}
	for _, bad := range []string{"", "$argon2id$v=19$m=999999999,t=1,p=1$c2FsdA$aGFzaA", strings.Replace(old, "t=1", "t=999999", 1), strings.Replace(old, "argon2id", "argon2i", 1), old[:len(old)-3]} {
		if h.Match("secret", bad) {
			t.Errorf("%q matched", bad)
		}
	}
}

// FuzzToken: no text that the server did not sign is believed.
func FuzzToken(f *testing.F) {
	b := newBench(f)
	_, body := b.login("admin", "right")
	good := body["access_token"].(string)
	none := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "admin", "dew_sort": "access", "exp": 9e9, "iss": "http://uaa"})
	unsigned, err := none.SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, unsigned, "", "a.b.c", good + "x", strings.Replace(good, ".", "..", 1), good[:len(good)-4]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := b.parse(token, sortAccess)
		if (err == nil) == (c == nil) {
			t.Fatalf("claims %v and error %v", c, err)
		}
		// The bytes before the signature are what is signed: any accepted
		// token must begin like the one that was issued.
		if err == nil && token[:strings.LastIndex(token, ".")] != good[:strings.LastIndex(good, ".")] {
			t.Fatalf("believed %q", token)
		}
	})
}

func FuzzParseFilter(f *testing.F) {
	f.Add(`userName eq "X" and origin eq "uaa"`)
	f.Add(`id Eq "\"" and userName eq "\u0041"`)
	f.Add(`userName eq "`)
	f.Fuzz(func(t *testing.T, filter string) {
		want, err := ParseFilter(filter)
		if err == nil && (len(want) == 0) != (filter == "") {
			t.Fatalf("%q gave %v: a filter was ignored", filter, want)
		}
	})
}

// TestNoCodes: the CLI asks for a code before ssh, and shows why there is none.
func TestNoCodes(t *testing.T) {
	b := newBench(t)
	_, body := b.login("admin", "right")
	code, answer := b.do("GET", "/oauth/authorize?response_type=code&client_id=ssh-proxy", body["access_token"].(string), "")
	if about, _ := answer["error_description"].(string); code != 401 || answer["error"] != "invalid_client" || !strings.Contains(about, "SSH") {
		t.Errorf("%d %v", code, answer)
	}
	if code, answer := b.do("GET", "/oauth/authorize?client_id=ssh-proxy", "no token", ""); code != 401 || answer["error"] != "invalid_token" {
		t.Errorf("a stranger: %d %v", code, answer)
	}
}
