package uaa

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/dewpaas/dew/cf"
)

type scimUser struct {
	ID       string `json:"id,omitempty"`
	UserName string `json:"userName"`
	Password string `json:"password,omitempty"`
	Origin   string `json:"origin"`
	Name     struct {
		Family string `json:"familyName"`
		Given  string `json:"givenName"`
	} `json:"name"`
	Emails []scimEmail `json:"emails,omitempty"`
	Active bool        `json:"active"`
	Meta   scimMeta    `json:"meta"`
}

type scimEmail struct {
	Value   string `json:"value"`
	Primary bool   `json:"primary"`
}

type scimMeta struct {
	Created  time.Time `json:"created"`
	Modified time.Time `json:"lastModified"`
}

func show(a *cf.Account) scimUser {
	u := scimUser{ID: a.GUID, UserName: a.Username, Origin: a.Origin, Active: true, Meta: scimMeta{a.CreatedAt, a.UpdatedAt}}
	u.Name.Family, u.Name.Given = a.FamilyName, a.GivenName
	u.Emails = []scimEmail{{a.Email, true}}
	return u
}

// filterForm is the part of SCIM filters (RFC 7644, 3.4.2.2) that the CLI sends.
var filterForm = regexp.MustCompile(`^(userName|origin|id) [eE][qQ] ("(?:[^"\\]|\\.)*")(?: and (.+))?$`)

// ParseFilter reads `userName eq "X" and origin eq "uaa"`. It understands all
// of the filter or refuses it.
func ParseFilter(filter string) (map[string]string, error) {
	want := map[string]string{}
	for filter != "" {
		m := filterForm.FindStringSubmatch(filter)
		if m == nil {
			return nil, refuse(http.StatusBadRequest, "invalid_filter", fmt.Sprintf("Cannot read the filter at %.60q: use userName, origin or id with eq, joined by and", filter))
		}
		var value string
		if err := json.Unmarshal([]byte(m[2]), &value); err != nil {
			return nil, refuse(http.StatusBadRequest, "invalid_filter", "A value is no JSON string")
		}
		if old, twice := want[m[1]]; twice && old != value {
			return nil, refuse(http.StatusBadRequest, "invalid_filter", "An attribute is compared twice")
		}
		want[m[1]] = value
		filter = m[3]
	}
	return want, nil
}

func (s *Server) listUsers(r *http.Request) (int, any, error) {
	if _, err := s.bearer(r, "scim.read"); err != nil {
		return 0, nil, err
	}
	want, err := ParseFilter(r.URL.Query().Get("filter"))
	if err != nil {
		return 0, nil, err
	}
	q := cf.Query{Order: []cf.Order{{Key: "username"}}, Limit: 500}
	for attribute, key := range map[string]string{"userName": "username", "origin": "origin", "id": "guid"} {
		if v, ok := want[attribute]; ok {
			q.Where = append(q.Where, cf.Is(key, v))
		}
	}
	users := []scimUser{}
	err = s.store.View(r.Context(), func(tx cf.Tx) error {
		list, err := cf.List[cf.Account](tx, q)
		for _, a := range list {
			users = append(users, show(a))
		}
		return err
	})
	return http.StatusOK, map[string]any{"resources": users, "startIndex": 1, "itemsPerPage": len(users), "totalResults": len(users),
		"schemas": []string{"urn:scim:schemas:core:1.0"}}, err
}

func (s *Server) getUser(r *http.Request) (int, any, error) {
	target := chi.URLParam(r, "id")
	id, err := s.bearer(r, "")
	if err != nil {
		return 0, nil, err
	}
	if id.GUID != target && !id.Has("scim.read") {
		return 0, nil, refuse(http.StatusForbidden, "insufficient_scope", "Insufficient scope for this resource")
	}
	a := new(cf.Account)
	err = s.store.View(r.Context(), func(tx cf.Tx) error { return tx.Load(a, target) })
	return http.StatusOK, show(a), err
}

// nameForm is what UAA allows in user names, minus spaces. The length is looked at
// beside it: compiled into the form, 255 times all letters, it takes 7 MB.
var nameForm = regexp.MustCompile(`^[\p{L}\p{N}+\-_.@'!$%&*/=?^{}|~]+$`)

const maxName = 255

func (s *Server) createUser(r *http.Request) (int, any, error) {
	if _, err := s.bearer(r, "scim.write"); err != nil {
		return 0, nil, err
	}
	var in scimUser
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "invalid_scim_resource", "The body is no SCIM user.")
	}
	if !nameForm.MatchString(in.UserName) || utf8.RuneCountInString(in.UserName) > maxName {
		return 0, nil, refuse(http.StatusBadRequest, "invalid_scim_resource", "A username must be provided, of letters, digits and + - _ . @ ' ! only.")
	}
	if in.Origin != "" && in.Origin != "uaa" {
		return 0, nil, refuse(http.StatusBadRequest, "invalid_scim_resource", "The only origin here is uaa.")
	}
	if err := goodPassword(in.Password); err != nil {
		return 0, nil, err
	}
	a := &cf.Account{Username: in.UserName, Origin: "uaa", GivenName: in.Name.Given, FamilyName: in.Name.Family, Scopes: userScopes(), Hash: s.hashes.Hash(in.Password)}
	if i := slices.IndexFunc(in.Emails, func(e scimEmail) bool { return e.Primary || len(in.Emails) == 1 }); i >= 0 {
		a.Email = in.Emails[i].Value
	}
	err := s.store.Update(r.Context(), func(tx cf.Tx) error { return tx.Insert(a) })
	if cf.KindOf(err) == cf.Exists {
		err = refuse(http.StatusConflict, "scim_resource_already_exists", "Username already in use: "+in.UserName)
	}
	return http.StatusCreated, show(a), err
}

func goodPassword(p string) error {
	if p == "" || len(p) > maxPassword {
		return refuse(http.StatusUnprocessableEntity, "invalid_password", fmt.Sprintf("Password must have 1 to %d bytes.", maxPassword))
	}
	return nil
}

func (s *Server) deleteUser(r *http.Request) (int, any, error) {
	if _, err := s.bearer(r, "scim.write"); err != nil {
		return 0, nil, err
	}
	a := new(cf.Account)
	err := s.store.Update(r.Context(), func(tx cf.Tx) error {
		if err := tx.Load(a, chi.URLParam(r, "id")); err != nil {
			return err
		}
		return tx.Delete(a)
	})
	return http.StatusOK, show(a), err
}

func (s *Server) setPassword(r *http.Request) (int, any, error) {
	id, err := s.bearer(r, "password.write")
	if err != nil {
		return 0, nil, err
	}
	var in struct{ OldPassword, Password string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "invalid_request", "The body is no JSON.")
	}
	if err := goodPassword(in.Password); err != nil {
		return 0, nil, err
	}
	target := chi.URLParam(r, "id")
	if target == id.GUID {
		if _, err := s.login(r, id.Name, in.OldPassword); err != nil {
			return 0, nil, err
		}
	} else if !id.Has("scim.write") {
		return 0, nil, refuse(http.StatusForbidden, "insufficient_scope", "Insufficient scope for this resource")
	}
	hash := s.hashes.Hash(in.Password)
	err = s.store.Update(r.Context(), func(tx cf.Tx) error {
		a, err := cf.Get[cf.Account](tx, target)
		if err != nil {
			return err
		}
		a.Hash, a.Generation = hash, a.Generation+1
		return tx.Save(a)
	})
	return http.StatusOK, map[string]string{"status": "ok", "message": "password updated"}, err
}
