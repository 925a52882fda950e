package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// jwt is a token that ends after a time. Nobody checks its signature here.
func jwt(life time.Duration) string {
	claims := fmt.Sprintf(`{"user_name":"me","exp":%d}`, time.Now().Add(life).Unix())
	return "h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s"
}

// serve makes a foundation of handlers by "METHOD /path", and a client that is
// logged in.
func serve(t *testing.T, handlers map[string]http.HandlerFunc) (*Client, *httptest.Server) {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, h := range handlers {
		mux.HandleFunc(pattern, h)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	config, err := LoadConfig(filepath.Join(t.TempDir(), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	config.Target, config.Login, config.LogCache = server.URL, server.URL, server.URL
	config.OAuthClient, config.AccessToken, config.RefreshToken = "cf", "bearer "+jwt(time.Hour), "refresh-1"
	return New(config, "test/1"), server
}

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

func tokens(access, refresh string) http.HandlerFunc {
	return answer(`{"access_token":"` + access + `","refresh_token":"` + refresh + `","token_type":"bearer"}`)
}

// TestTokenIsRenewedInTime: one that ends within a minute is not sent.
func TestTokenIsRenewedInTime(t *testing.T) {
	fresh := jwt(time.Hour)
	var sent string
	c, _ := serve(t, map[string]http.HandlerFunc{
		"POST /oauth/token": func(w http.ResponseWriter, r *http.Request) {
			id, secret, _ := r.BasicAuth()
			if r.FormValue("grant_type") != "refresh_token" || r.FormValue("refresh_token") != "refresh-1" || id != "cf" || secret != "" {
				t.Errorf("grant %v by %s:%s", r.Form, id, secret)
			}
			tokens(fresh, "refresh-2")(w, r)
		},
		"GET /v3/x": func(w http.ResponseWriter, r *http.Request) {
			sent = r.Header.Get("Authorization")
			io.WriteString(w, `{}`)
		},
	})
	c.Config.AccessToken = "bearer " + jwt(30*time.Second)
	if err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); err != nil {
		t.Fatal(err)
	}
	if sent != "bearer "+fresh || c.Config.RefreshToken != "refresh-2" {
		t.Errorf("sent %q, kept %q", sent, c.Config.RefreshToken)
	}
	if again := load(t, c.Config.path); again.AccessToken != "bearer "+fresh {
		t.Error("the new token is not in the file")
	}
}

// TestTokenThatTheServerForgot: a new one is got, once.
func TestTokenThatTheServerForgot(t *testing.T) {
	fresh := jwt(2 * time.Hour)
	var asked atomic.Int32
	c, _ := serve(t, map[string]http.HandlerFunc{
		"POST /oauth/token": tokens(fresh, "refresh-2"),
		"GET /v3/x": func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1); r.Header.Get("Authorization") != "bearer "+fresh {
				w.WriteHeader(401)
				io.WriteString(w, `{"errors":[{"code":1000,"title":"CF-InvalidAuthToken","detail":"Invalid Auth Token"}]}`)
				return
			}
			io.WriteString(w, `{"a":1}`)
		},
		"GET /v3/never": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
	})
	var out struct{ A int }
	if err := c.Do(t.Context(), "GET", "/v3/x", nil, &out); err != nil || out.A != 1 || asked.Load() != 2 {
		t.Errorf("%v, %+v, asked %d times", err, out, asked.Load())
	}
	if err := c.Do(t.Context(), "GET", "/v3/never", nil, nil); StatusOf(err) != 401 {
		t.Errorf("error %v", err)
	}
}

func TestNoWayToANewToken(t *testing.T) {
	c, _ := serve(t, map[string]http.HandlerFunc{
		"POST /oauth/token": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(401)
			io.WriteString(w, `{"error":"invalid_token","error_description":"revoked"}`)
		},
		"GET /v3/x": answer(`{}`),
	})
	c.Config.AccessToken = "bearer " + jwt(0)
	if err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); !errors.Is(err, ErrNoLogin) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("error %v", err)
	}
	c.Again = func(context.Context) error {
		c.Config.AccessToken = "bearer " + jwt(time.Hour)
		return nil
	}
	if err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); err != nil {
		t.Errorf("with another way in: %v", err)
	}
	c.Config.AccessToken, c.Config.RefreshToken, c.Again = "", "", nil
	if err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); !errors.Is(err, ErrNoLogin) {
		t.Errorf("error %v", err)
	}
	c.Config.Target = ""
	if err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); !errors.Is(err, ErrNoTarget) {
		t.Errorf("error %v", err)
	}
}

func TestLoginOfAProgram(t *testing.T) {
	c, _ := serve(t, map[string]http.HandlerFunc{
		"POST /oauth/token": func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("grant_type") != "client_credentials" || r.FormValue("client_id") != "robot" || r.FormValue("client_secret") != "s" {
				t.Errorf("grant %v", r.Form)
			}
			answer(`{"access_token":"`+jwt(time.Hour)+`"}`)(w, r)
		},
		"GET /v3/x": answer(`{}`),
	})
	if err := c.LoginClient(t.Context(), "robot", "s"); err != nil {
		t.Fatal(err)
	}
	c.Config.AccessToken = "bearer " + jwt(0)
	if err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); err != nil {
		t.Error(err)
	}
	c.Logout()
	if s := c.Config.Settings; s.OAuthSecret != "" || s.AccessToken != "" || s.OAuthClient != "cf" {
		t.Errorf("after the logout: %+v", s)
	}
}

// TestTokenGoesToTheTargetOnly: also when a page or a job is said to be
// elsewhere.
func TestTokenGoesToTheTargetOnly(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the thief was asked") }))
	defer thief.Close()
	c, _ := serve(t, map[string]http.HandlerFunc{
		"GET /v3/things": func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("page") == "2" {
				io.WriteString(w, `{"resources":[{"name":"b"}],"pagination":{"next":null}}`)
				return
			}
			io.WriteString(w, `{"resources":[{"name":"a"}],"pagination":{"next":{"href":"`+thief.URL+`/v3/things?page=2"}}}`)
		},
		"DELETE /v3/things/a": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", thief.URL+"/v3/jobs/1")
			w.WriteHeader(202)
		},
		"GET /v3/jobs/1": answer(`{"state":"COMPLETE"}`),
	})
	things, err := List[Thing](t.Context(), c, "/v3/things", nil)
	if err != nil || len(things) != 2 || things[1].Name != "b" {
		t.Errorf("%v, %v", things, err)
	}
	if err := c.Work(t.Context(), "DELETE", "/v3/things/a", nil); err != nil {
		t.Error(err)
	}
}

func TestJobs(t *testing.T) {
	var asked atomic.Int32
	job := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/v3/jobs/"+text)
			w.WriteHeader(202)
		}
	}
	c, _ := serve(t, map[string]http.HandlerFunc{
		"POST /good": job("good"), "POST /bad": job("bad"), "POST /mute": job("mute"), "POST /gone": job("gone"), "POST /none": answer(""),
		"GET /v3/jobs/good": func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) < 3 {
				io.WriteString(w, `{"state":"PROCESSING"}`)
				return
			}
			io.WriteString(w, `{"state":"COMPLETE","warnings":[{"detail":"careful"}]}`)
		},
		"GET /v3/jobs/bad":  answer(`{"state":"FAILED","errors":[{"title":"CF-X","detail":"this"},{"title":"CF-Y","detail":"and that"}]}`),
		"GET /v3/jobs/mute": answer(`{"state":"FAILED"}`),
	})
	var warned []string
	c.Warn = func(text string) { warned = append(warned, text) }
	if err := c.Work(t.Context(), "POST", "/good", nil); err != nil || fmt.Sprint(warned) != "[careful]" {
		t.Errorf("%v, warned %v", err, warned)
	}
	var e *Error
	if err := c.Work(t.Context(), "POST", "/bad", nil); err == nil || err.Error() != "this; and that" || !errors.As(err, &e) || !e.Has("CF-Y") || e.Has("CF-Z") {
		t.Errorf("error %v", err)
	}
	if err := c.Work(t.Context(), "POST", "/mute", nil); err == nil {
		t.Error("a job that fails without a word is no error")
	}
	if err := c.Work(t.Context(), "POST", "/gone", nil); StatusOf(err) != 404 {
		t.Errorf("error %v", err)
	}
	if err := c.Work(t.Context(), "POST", "/none", nil); err != nil {
		t.Error(err)
	}
}

func TestAnswersThatAreErrors(t *testing.T) {
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Vcap-Request-Id", "id-1")
			w.Header().Set("X-Cf-Warnings", "one%20thing,another")
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	c, server := serve(t, map[string]http.HandlerFunc{
		"GET /500": status(500, `{"errors":[{"detail":"An unknown error occurred."}]}`), "GET /502": status(502, "<html>"), "GET /html": answer("<html>"),
	})
	var warned []string
	c.Warn = func(text string) { warned = append(warned, text) }
	for path, want := range map[string]string{
		"/500":  "An unknown error occurred. (request id-1)",
		"/502":  "the API answers 502 Bad Gateway (request id-1)",
		"/html": "read the answer to GET /html: ",
	} {
		var out struct{}
		if err := c.Do(t.Context(), "GET", path, nil, &out); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if fmt.Sprint(warned) != "[one thing another one thing another]" {
		t.Errorf("warned %q", warned)
	}
	server.Close()
	var away *UnreachableError
	if err := c.Do(t.Context(), "GET", "/500?secret", nil, nil); !errors.As(err, &away) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ctx, "GET", "/500", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestChoose: what cf keeps of a foundation, and nothing of the one before.
func TestChoose(t *testing.T) {
	root := `{"links":{"cloud_controller_v3":{"href":"h/v3","meta":{"version":"3.211.0"}},"login":{"href":"h"},"uaa":{"href":"u"},"log_cache":{"href":"l"},"network_policy_v1":null,"logging":null,"routing":null}}`
	c, server := serve(t, map[string]http.HandlerFunc{"GET /{$}": answer(root), "GET /other/{$}": answer(root), "GET /no/{$}": answer(`{}`)})
	c.Config.Space = Named{"g", "old"}
	if err := c.Choose(t.Context(), server.URL+"/"); err != nil { // the same as before
		t.Fatal(err)
	}
	if s := c.Config.Settings; s.APIVersion != "3.211.0" || s.Login != "h" || s.UAA != "u" || s.LogCache != "l" || s.Policies != "" || s.Space.Name != "old" || s.AccessToken == "" {
		t.Errorf("%+v", s)
	}
	if err := c.Choose(t.Context(), server.URL+"/other"); err != nil {
		t.Fatal(err)
	}
	if s := c.Config.Settings; s.Space.Name != "" || s.AccessToken != "" || s.RefreshToken != "" {
		t.Errorf("%+v", s)
	}
	before := c.Config.Settings
	for _, bad := range []string{server.URL + "/no", "ftp://x", "http://", "::"} {
		if err := c.Choose(t.Context(), bad); err == nil || c.Config.Settings != before {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestMatchAsksInParts(t *testing.T) {
	var sizes []int
	c, _ := serve(t, map[string]http.HandlerFunc{"POST /v3/resource_matches": func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Resources []File }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		sizes = append(sizes, len(body.Resources))
		json.NewEncoder(w).Encode(map[string]any{"resources": body.Resources[:1]})
	}})
	known, err := c.Match(t.Context(), make([]File, 2500))
	if err != nil || len(known) != 3 || fmt.Sprint(sizes) != "[1000 1000 500]" {
		t.Errorf("%d known, asked %v, %v", len(known), sizes, err)
	}
}

// TestUploadBeginsAnew when the connection breaks in the middle.
func TestUploadBeginsAnew(t *testing.T) {
	zip := bytes.Repeat([]byte("zip"), 1<<20)
	var tries atomic.Int32
	c, _ := serve(t, map[string]http.HandlerFunc{"POST /v3/packages/p/upload": func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) == 1 {
			io.CopyN(io.Discard, r.Body, 1<<10)
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
			return
		}
		if r.ContentLength <= int64(len(zip)) {
			t.Errorf("length %d", r.ContentLength)
		}
		f, _, err := r.FormFile("bits")
		if err != nil {
			t.Error(err)
			return
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, zip) {
			t.Errorf("%d bytes arrive, %v", len(got), err)
		}
		if list := r.FormValue("resources"); !strings.Contains(list, `"path":"a"`) {
			t.Errorf("resources %s", list)
		}
	}})
	var last int64
	err := c.Upload(t.Context(), "p", []File{{Path: "a"}}, bytes.NewReader(zip), func(n int64) { last = n })
	if err != nil || tries.Load() != 2 || last != int64(len(zip)) {
		t.Errorf("%v after %d tries, %d bytes told", err, tries.Load(), last)
	}
}

func TestUploadThatIsRefused(t *testing.T) {
	var tries atomic.Int32
	c, _ := serve(t, map[string]http.HandlerFunc{
		"POST /v3/packages/p/upload": func(w http.ResponseWriter, r *http.Request) {
			tries.Add(1)
			if _, _, err := r.FormFile("bits"); !errors.Is(err, http.ErrMissingFile) {
				t.Errorf("bits: %v", err)
			}
			w.WriteHeader(422)
			io.WriteString(w, `{"errors":[{"detail":"broken zip"}]}`)
		},
		"GET /v3/packages/p": answer(`{"state":"FAILED","data":{"error":"too large"}}`),
		"GET /v3/packages/q": answer(`{"state":"READY"}`),
	})
	if err := c.Upload(t.Context(), "p", nil, nil, nil); err == nil || err.Error() != "broken zip" || tries.Load() != 1 {
		t.Errorf("%v after %d tries", err, tries.Load())
	}
	if err := c.AwaitPackage(t.Context(), "p"); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v", err)
	}
	if err := c.AwaitPackage(t.Context(), "q"); err != nil {
		t.Error(err)
	}
}

func TestNamesAreMatchedWhole(t *testing.T) {
	c, _ := serve(t, map[string]http.HandlerFunc{"GET /v3/apps": answer(`{"resources":[{"name":"a","guid":"1"},{"name":"b","guid":"2"}]}`)})
	if a, err := c.FindApp(t.Context(), "b"); err != nil || a.GUID != "2" {
		t.Errorf("%v, %v", a, err)
	}
	var missing *MissingError
	if _, err := c.FindApp(t.Context(), "a,b"); !errors.As(err, &missing) { // a filter with two names
		t.Errorf("error %v", err)
	}
}

func TestClaimsOfWhatIsNoToken(t *testing.T) {
	for _, text := range []string{"", "bearer", "bearer a.b", "bearer a.!.c", "bearer a." + base64.RawURLEncoding.EncodeToString([]byte("[]")) + ".c"} {
		if c := ClaimsOf(text); c != (Claims{}) {
			t.Errorf("%q says %+v", text, c)
		}
	}
	if c := ClaimsOf("bearer " + jwt(time.Hour)); c.User != "me" || time.Until(c.expiry()) < 50*time.Minute {
		t.Errorf("%+v", c)
	}
}
