package uaa

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/dewpaas/dew/cf"
)

// oauthClient is a client as the UAA shows it.
type oauthClient struct {
	ID          string   `json:"client_id"`
	Secret      string   `json:"client_secret,omitempty"`
	Authorities []string `json:"authorities"`
	Grants      []string `json:"authorized_grant_types"`
}

const clientGrant = "client_credentials"

var clientForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)

func (s *Server) client(r *http.Request) (int, any, error) {
	if _, err := s.bearer(r, "clients.read"); err != nil {
		return 0, nil, err
	}
	c := new(cf.Client)
	err := s.store.View(r.Context(), func(tx cf.Tx) error { return tx.Load(c, chi.URLParam(r, "id")) })
	return http.StatusOK, oauthClient{c.GUID, "", c.Scopes, []string{clientGrant}}, noClient(err)
}

func noClient(err error) error {
	if cf.KindOf(err) == cf.NotFound {
		return refuse(http.StatusNotFound, "not_found", "There is no such client.")
	}
	return err
}

// createClient makes a program that logs in with a secret. Nobody gives it more
// than he has.
func (s *Server) createClient(r *http.Request) (int, any, error) {
	id, err := s.bearer(r, "clients.write")
	if err != nil {
		return 0, nil, err
	}
	var in oauthClient
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "invalid_client", "The body is no client.")
	}
	switch {
	case !clientForm.MatchString(in.ID) || in.ID == "cf":
		return 0, nil, refuse(http.StatusBadRequest, "invalid_client", "client_id must be of letters, digits, dots, dashes and underscores, and not cf.")
	case in.Secret == "" || len(in.Secret) > maxPassword:
		return 0, nil, refuse(http.StatusBadRequest, "invalid_client", "client_secret must have 1 to 255 bytes.")
	case slices.ContainsFunc(in.Grants, func(g string) bool { return g != clientGrant }):
		return 0, nil, refuse(http.StatusBadRequest, "invalid_client", "The only grant type of clients is client_credentials.")
	}
	for _, scope := range in.Authorities {
		if !mayGive(id, scope) {
			return 0, nil, refuse(http.StatusForbidden, "insufficient_scope", "You do not have the authority "+scope+" yourself.")
		}
	}
	c := &cf.Client{Meta: cf.Meta{GUID: in.ID}, Hash: s.hashes.Hash(in.Secret), Scopes: in.Authorities}
	err = s.store.Update(r.Context(), func(tx cf.Tx) error { return tx.Insert(c) })
	if cf.KindOf(err) == cf.Exists {
		err = refuse(http.StatusConflict, "invalid_client", "Client already exists: "+in.ID)
	}
	return http.StatusCreated, oauthClient{in.ID, "", in.Authorities, []string{clientGrant}}, err
}

// mayGive tells whether somebody may give a scope on: those that he has, and an
// admin also those that only let look at what he may change.
func mayGive(id Identity, scope string) bool {
	less := scope == "cloud_controller.admin_read_only" || scope == "cloud_controller.global_auditor"
	return id.Has(scope) || less && id.Has("cloud_controller.admin")
}

// deleteClient ends a client, and with it its tokens.
func (s *Server) deleteClient(r *http.Request) (int, any, error) {
	if _, err := s.bearer(r, "clients.write"); err != nil {
		return 0, nil, err
	}
	c := new(cf.Client)
	err := s.store.Update(r.Context(), func(tx cf.Tx) error {
		if err := tx.Load(c, chi.URLParam(r, "id")); err != nil {
			return err
		}
		return tx.Delete(c)
	})
	return http.StatusOK, oauthClient{c.GUID, "", c.Scopes, []string{clientGrant}}, noClient(err)
}

// tokenKeys are the public keys for those who check tokens themselves (RFC 7517).
func (s *Server) tokenKeys(*http.Request) (int, any, error) {
	point, err := s.key.PublicKey.Bytes() // 4, then both coordinates (SEC 1, 2.3.3)
	if err != nil {
		return 0, nil, err
	}
	half := (len(point) - 1) / 2
	b64 := base64.RawURLEncoding.EncodeToString
	return http.StatusOK, map[string]any{"keys": []map[string]string{{"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": "dew",
		"x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}}}, nil
}
