package cf

import (
	"crypto/rand"
	"fmt"
	"time"
)

// Noun names a set of records of one sort, and the table that keeps them.
type Noun string

// Keys are the values of a record that can be asked for, by name. A nil value
// is an absent reference. The zero record declares the names of its noun.
type Keys map[string]any

// Record is anything the ledger keeps.
type Record interface {
	Noun() Noun
	Keys() Keys
	Base() *Meta
}

// Meta is what every record has.
type Meta struct {
	GUID        string            `json:"guid"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Base gives the store access to the common part of a record.
func (m *Meta) Base() *Meta { return m }

// NewGUID returns a random UUID (RFC 9562, version 4).
func NewGUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// ref is the key value of a reference that may be absent.
func ref(guid string) any {
	if guid == "" {
		return nil
	}
	return guid
}

func flag(b bool) any {
	if b {
		return int64(1)
	}
	return int64(0)
}
