package uaa

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/dewpaas/dew/cf"
)

// Server answers UAA requests. It is safe for concurrent use.
type Server struct {
	store   cf.Store
	key     *ecdsa.PrivateKey
	issuer  string
	hashes  hashes
	limiter *limiter
	nobody  string // the hash compared when there is no such user
	now     func() time.Time
}

// concurrentHashes bounds the memory that logins take to twice 19 MiB.
const concurrentHashes = 2

// New returns a server that signs with key and calls itself issuer.
func New(store cf.Store, key *ecdsa.PrivateKey, issuer string) *Server {
	s := &Server{store: store, key: key, issuer: issuer, hashes: hashes{make(chan struct{}, concurrentHashes), DefaultCost()}, now: time.Now}
	s.limiter = newLimiter()
	s.nobody = s.hashes.Hash("nobody")
	return s
}

// SetCost changes what new hashes cost; tests that make many users pay less.
// Call it before anything else.
func (s *Server) SetCost(c Cost) {
	s.hashes.cost = c
	s.nobody = s.hashes.Hash("nobody")
}

// Mount adds the paths of the UAA to r.
func (s *Server) Mount(r chi.Router) {
	r.Get("/login", s.answer(s.prompts))
	r.Post("/oauth/token", s.answer(s.token))
	r.Get("/oauth/authorize", s.answer(s.authorize))
	r.Delete("/oauth/token/revoke/{jti}", s.answer(s.revoke))
	r.Get("/token_keys", s.answer(s.tokenKeys))
	r.Get("/oauth/clients/{id}", s.answer(s.client))
	r.Post("/oauth/clients", s.answer(s.createClient))
	r.Delete("/oauth/clients/{id}", s.answer(s.deleteClient))
	r.Get("/Users/{id}", s.answer(s.getUser))
	r.Get("/Users", s.answer(s.listUsers))
	r.Post("/Users", s.answer(s.createUser))
	r.Delete("/Users/{id}", s.answer(s.deleteUser))
	r.Put("/Users/{id}/password", s.answer(s.setPassword))
}

// refusal is an error of the UAA as its clients read it.
type refusal struct {
	status      int
	word, about string
}

func (r *refusal) Error() string { return r.word + ": " + r.about }

func refuse(status int, word, about string) error { return &refusal{status, word, about} }

// maxBody bounds the bodies of all requests.
const maxBody = 64 << 10

func (s *Server) answer(f func(*http.Request) (int, any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		status, body, err := f(r)
		if err != nil {
			status, body = explain(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		if body != nil {
			json.NewEncoder(w).Encode(body) // the client is gone if this fails
		}
	}
}

func explain(err error) (int, any) {
	var r *refusal
	if !errors.As(err, &r) {
		switch {
		case errors.Is(err, ErrToken):
			r = &refusal{http.StatusUnauthorized, "invalid_token", "The token expired, was revoked, or the token ID is incorrect."}
		case cf.KindOf(err) == cf.NotFound:
			r = &refusal{http.StatusNotFound, "scim_resource_not_found", "There is no such user."}
		default:
			r = &refusal{http.StatusInternalServerError, "server_error", "The server failed. Its log tells why."}
		}
	}
	return r.status, map[string]string{"error": r.word, "error_description": r.about}
}

func (s *Server) prompts(*http.Request) (int, any, error) {
	return http.StatusOK, map[string]any{
		"app": map[string]string{"version": "77.0.0"},
		// The CLI asks for a passcode with --sso only, and then even where none is named.
		"prompts": map[string][]string{"username": {"text", "Email"}, "password": {"password", "Password"},
			"passcode": {"password", "There are no passcodes here: log in without --sso, with user name and password. Passcode"}},
	}, nil
}

// bearer tells who asks, and refuses who lacks the scope.
func (s *Server) bearer(r *http.Request, scope string) (Identity, error) {
	id, err := s.Check(r.Context(), Bearer(r))
	if err == nil && scope != "" && !id.Has(scope) {
		err = refuse(http.StatusForbidden, "insufficient_scope", "Insufficient scope for this resource")
	}
	return id, err
}

// Bearer returns the token of a request, or "".
func Bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// EnsureAdmin makes the account admin if there is none, with the password that
// secret returns.
func (s *Server) EnsureAdmin(ctx context.Context, secret func() (string, error)) (made bool, err error) {
	err = s.store.View(ctx, func(tx cf.Tx) error {
		a, err := cf.First[cf.Account](tx, cf.Is("username", "admin"), cf.Is("origin", "uaa"))
		made = a == nil
		return err
	})
	if err != nil || !made {
		return false, err
	}
	password, err := secret()
	if err != nil {
		return false, err
	}
	a := &cf.Account{Username: "admin", Origin: "uaa", Hash: s.hashes.Hash(password), Scopes: adminScopes()}
	return true, s.store.Update(ctx, func(tx cf.Tx) error {
		if err := tx.Insert(a); err != nil {
			return err
		}
		return tx.Insert(&cf.User{Meta: cf.Meta{GUID: a.GUID}, Username: a.Username, Origin: a.Origin})
	})
}

func adminScopes() []string {
	return append(userScopes(), "cloud_controller.admin", "scim.read", "scim.write", "clients.read", "clients.write", "network.admin", "doppler.firehose")
}

func userScopes() []string {
	return []string{"openid", "cloud_controller.read", "cloud_controller.write", "password.write", "uaa.user"}
}
