package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// ErrNoTarget says that no foundation was chosen yet.
var ErrNoTarget = errors.New("no foundation is targeted")

// ErrNoLogin says that the target wants a login, or another one.
var ErrNoLogin = errors.New("you are not logged in")

// Problem is one reason in an answer of the API.
type Problem struct {
	Code   int    `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

// Error is an answer of the API, or of the UAA, that is not success.
type Error struct {
	Status   int
	Problems []Problem
	Request  string // how the operator finds it in the log
}

func (e *Error) Error() string {
	var list []string
	for _, p := range e.Problems {
		list = append(list, p.Detail)
	}
	text := strings.Join(list, "; ")
	if text == "" {
		text = fmt.Sprintf("the API answers %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Status >= 500 && e.Request != "" {
		text += " (request " + e.Request + ")"
	}
	return text
}

// Has tells whether one of the problems has this title, as "CF-NotAuthorized".
func (e *Error) Has(title string) bool {
	for _, p := range e.Problems {
		if p.Title == title {
			return true
		}
	}
	return false
}

// StatusOf is the HTTP status in err's chain, or 0.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// maxAnswer bounds what is kept of an answer that is read whole.
const maxAnswer = 64 << 20

// failed reads the reason from an answer. It may be the API's or the UAA's.
func failed(r *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	e := &Error{Status: r.StatusCode, Request: r.Header.Get("X-Vcap-Request-Id")}
	var body struct {
		Errors      []Problem `json:"errors"`
		Error       string    `json:"error"`
		Description string    `json:"error_description"`
	}
	if err == nil && json.Unmarshal(b, &body) == nil {
		e.Problems = body.Errors
		if body.Description != "" {
			e.Problems = []Problem{{Title: body.Error, Detail: body.Description}}
		}
	}
	return e
}

// MissingError says that there is no such thing where the caller looks.
type MissingError struct{ What, Name, Where string }

func (e *MissingError) Error() string {
	text := fmt.Sprintf("there is no %s %q", e.What, e.Name)
	if e.Where != "" {
		text += " in " + e.Where
	}
	return text
}
