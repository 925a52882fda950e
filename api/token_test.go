package api

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestExpiredToken: whatever door it is shown at, a token whose time is over is
// answered with what makes the CLI ask for a login, and nothing happens.
func TestExpiredToken(t *testing.T) {
	f := newFoundation(t)
	token, _, space, app := f.tenant(f.login("admin", "pw"), "ann")
	good := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, good)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(expires time.Time) string {
		again := jwt.NewWithClaims(jwt.SigningMethodES256, good)
		again.Header["kid"] = parsed.Header["kid"]
		good["exp"] = expires.Unix()
		signed, err := again.SignedString(f.key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	f.do(200, sign(time.Now().Add(time.Minute)), "GET", "/v3/apps/"+app, "") // this test signs as the UAA does
	expired := sign(time.Now().Add(-time.Minute))
	pack := f.pack(token, app)
	for _, c := range []string{"GET /v3/apps", "DELETE /v3/apps/" + app, "POST /v3/spaces/" + space + "/actions/apply_manifest", "POST /v3/packages/" + pack + "/upload",
		"GET /api/v1/read/" + app, "GET /networking/v1/external/policies", "GET /Users", "GET /v3/jobs/none"} {
		method, path, _ := strings.Cut(c, " ")
		w := f.send(method, path, expired, "application/json", []byte("{}"))
		if w.Code != 401 || strings.HasPrefix(path, "/v3") && !strings.Contains(w.Body.String(), "CF-InvalidAuthToken") {
			t.Errorf("%s: %d %s", c, w.Code, w.Body)
		}
	}
	f.do(200, token, "GET", "/v3/apps/"+app, "")
}
