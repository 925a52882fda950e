package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"regexp"
)

// broker answers the Open Service Broker API. Everything is done at once: a
// database takes well under a second.
type broker struct {
	databases      *databases
	user, password string
}

const catalog = `{"services":[{
 "id":"6c7c1f6e-6b7b-4d56-9a0f-4f5b6f7f0c11","name":"postgres","description":"A PostgreSQL database","bindable":true,"tags":["postgresql","relational","sql"],
 "metadata":{"displayName":"PostgreSQL","documentationUrl":"https://www.postgresql.org/docs/"},
 "plans":[{"id":"0a4d4d5b-27e0-4d4b-8a35-4e6a4f6b2e5d","name":"database","description":"A database of its own on a shared server","free":true}]}]}`

func (b *broker) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/catalog", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(catalog))
	})
	const instance = "/v2/service_instances/{instance}"
	mux.HandleFunc("PUT "+instance, b.answer(b.provision))
	mux.HandleFunc("DELETE "+instance, b.answer(b.deprovision))
	mux.HandleFunc("PUT "+instance+"/service_bindings/{binding}", b.answer(b.bind))
	mux.HandleFunc("DELETE "+instance+"/service_bindings/{binding}", b.answer(b.unbind))
	return b.guard(mux)
}

// guard lets in only the platform.
func (b *broker) guard(next http.Handler) http.Handler {
	same := func(a, b string) bool {
		x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
		return subtle.ConstantTimeCompare(x[:], y[:]) == 1
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if good := same(user, b.user); !same(password, b.password) || !good {
			w.Header().Set("WWW-Authenticate", "Basic")
			reply(w, http.StatusUnauthorized, map[string]string{"description": "wrong user name or password"})
			return
		}
		if r.Header.Get("X-Broker-API-Version") == "" {
			reply(w, http.StatusPreconditionFailed, map[string]string{"description": "X-Broker-API-Version is missing"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// guidForm is what may become part of a name in SQL.
var guidForm = regexp.MustCompile(`^[0-9a-fA-F-]{1,50}$`)

// answer checks guids, and turns what happened into a status.
func (b *broker) answer(f func(*http.Request) (int, any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"instance", "binding"} {
			if v := r.PathValue(name); v != "" && !guidForm.MatchString(v) {
				reply(w, http.StatusBadRequest, map[string]string{"description": "a guid is of hexadecimal digits and dashes"})
				return
			}
		}
		status, body, err := f(r)
		if errors.Is(err, errGone) {
			reply(w, http.StatusGone, map[string]string{})
			return
		}
		if err != nil {
			log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			reply(w, http.StatusInternalServerError, map[string]string{"description": "the database server refused; the broker's log says why"})
			return
		}
		reply(w, status, body)
	}
}

func made(fresh bool) int {
	if fresh {
		return http.StatusCreated
	}
	return http.StatusOK
}

func (b *broker) provision(r *http.Request) (int, any, error) {
	fresh, err := b.databases.create(r.Context(), r.PathValue("instance"))
	return made(fresh), map[string]string{}, err
}

func (b *broker) deprovision(r *http.Request) (int, any, error) {
	return http.StatusOK, map[string]string{}, b.databases.drop(r.Context(), r.PathValue("instance"))
}

func (b *broker) bind(r *http.Request) (int, any, error) {
	credentials, fresh, err := b.databases.admit(r.Context(), r.PathValue("instance"), r.PathValue("binding"))
	if errors.Is(err, errGone) {
		return http.StatusNotFound, map[string]string{"description": "there is no such database"}, nil
	}
	return made(fresh), map[string]any{"credentials": credentials}, err
}

func (b *broker) unbind(r *http.Request) (int, any, error) {
	return http.StatusOK, map[string]string{}, b.databases.expel(r.Context(), r.PathValue("instance"), r.PathValue("binding"))
}
