package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/dewpaas/dew/cf"
)

// refusal is an error as CF clients read it. The CLI matches some details
// literally: do not reword them.
type refusal struct {
	status int
	code   int
	title  string
	detail string
}

func (r *refusal) Error() string { return r.title + ": " + r.detail }

func notFound(what string) error {
	return &refusal{404, 10010, "CF-ResourceNotFound", what + " not found"}
}

func unprocessable(format string, args ...any) error {
	return &refusal{422, 10008, "CF-UnprocessableEntity", fmt.Sprintf(format, args...)}
}

func forbidden() error {
	return &refusal{403, 10003, "CF-NotAuthorized", "You are not authorized to perform the requested action"}
}

// disabled is about what CAPI knows and this platform does not do.
func disabled(what string) error {
	return &refusal{403, 330002, "CF-FeatureDisabled", "Feature Disabled: " + what}
}

func notAuthenticated() error {
	return &refusal{401, 10002, "CF-NotAuthenticated", "Authentication error"}
}

func badToken() error { return &refusal{401, 1000, "CF-InvalidAuthToken", "Invalid Auth Token"} }

func badQuery(format string, args ...any) error {
	return &refusal{400, 10005, "CF-BadQueryParameter", "The query parameter is invalid: " + fmt.Sprintf(format, args...)}
}

func badBody(format string, args ...any) error {
	return &refusal{400, 1001, "CF-MessageParseError", "Request invalid due to parse error: " + fmt.Sprintf(format, args...)}
}

func unavailable(detail string) error { return &refusal{503, 10015, "CF-ServiceUnavailable", detail} }

// explain turns any error into the one that is shown. What is not meant for
// the user comes back as hidden, to be logged.
func explain(err error) (r *refusal, hidden error) {
	if errors.As(err, &r) {
		return r, nil
	}
	switch cf.KindOf(err) {
	case cf.NotFound:
		return &refusal{404, 10010, "CF-ResourceNotFound", "Resource not found"}, nil
	case cf.Invalid:
		return &refusal{400, 10005, "CF-BadQueryParameter", "The query parameter is invalid: " + err.Error()}, nil
	case cf.Exists:
		return &refusal{422, 10008, "CF-UnprocessableEntity", "The name is taken."}, nil
	case cf.Conflict:
		return &refusal{422, 10008, "CF-UnprocessableEntity", "The resource is used by another, or one that it needs is gone."}, nil
	case cf.Exhausted:
		return &refusal{507, 10011, "CF-InsufficientStorage", "The platform's disk is full. Nothing was changed."}, err
	case cf.Unavailable:
		return &refusal{503, 10015, "CF-ServiceUnavailable", "The ledger does not answer. Try again."}, err
	}
	return &refusal{500, 10001, "UnknownError", "An unknown error occurred."}, err
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	shown, hidden := explain(err)
	if hidden != nil && r.Context().Err() == nil { // who has gone made it fail himself
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "request", w.Header().Get(requestID), "err", hidden)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(shown.status)
	json.NewEncoder(w).Encode(obj{"errors": []cf.JobError{{Code: shown.code, Title: shown.title, Detail: shown.detail}}})
}
