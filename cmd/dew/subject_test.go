package main

import (
	"slices"
	"testing"
)

func TestBindingsOf(t *testing.T) {
	got, err := bindingsOf([]byte(`{"user-provided":[{"name":"db","credentials":{"uri":"postgres://x"}}],"postgres":[{"name":"orders","credentials":{"password":"p"}},{"name":"empty"}]}`))
	var names []string
	for _, b := range got {
		names = append(names, b.Service)
	}
	if err != nil || !slices.Equal(names, []string{"orders", "empty", "db"}) || got[2].Credentials["uri"] == nil {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := bindingsOf(nil); err != nil || got != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := bindingsOf([]byte(`{"x":1}`)); err == nil {
		t.Error("no list")
	}
}
