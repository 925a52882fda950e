package uaa

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dewpaas/dew/cf"
)

// Token lives. The CLI refreshes what has less than a minute left.
const (
	accessLife  = 20 * time.Minute
	refreshLife = 30 * 24 * time.Hour
)

const (
	sortAccess  = "access"
	sortRefresh = "refresh"
)

// claims are what a token says. The CLI needs user_name, user_id and origin as
// strings, or client_id alone, and exp always.
type claims struct {
	jwt.RegisteredClaims
	Sort       string   `json:"dew_sort"`
	Generation int      `json:"dew_gen"`
	Session    string   `json:"dew_session,omitempty"` // from login to logout
	Revocable  bool     `json:"revocable"`             // tells the CLI to revoke at logout
	UserName   string   `json:"user_name,omitempty"`
	UserID     string   `json:"user_id,omitempty"`
	Origin     string   `json:"origin,omitempty"`
	ClientID   string   `json:"client_id,omitempty"`
	CID        string   `json:"cid"`
	Scope      []string `json:"scope"`
	Grant      string   `json:"grant_type"`
}

// Identity is who a token speaks for.
type Identity struct {
	GUID   string
	Name   string
	Client bool
	Scopes []string
}

// Has tells whether the identity was given the scope.
func (i Identity) Has(scope string) bool { return slices.Contains(i.Scopes, scope) }

// ErrToken is every reason not to believe a token.
var ErrToken = errors.New("invalid token")

func (s *Server) sign(c claims, life time.Duration) (string, error) {
	now := s.now()
	c.Issuer = s.issuer
	c.ID = cf.NewGUID()
	c.IssuedAt = jwt.NewNumericDate(now)
	c.ExpiresAt = jwt.NewNumericDate(now.Add(life))
	t := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	t.Header["kid"] = "dew"
	return t.SignedString(s.key)
}

// maxToken bounds what is parsed; ours have about 700 bytes.
const maxToken = 8 << 10

// parse is the one door for tokens: signature, algorithm, issuer, life, sort.
func (s *Server) parse(token, sort string) (*claims, error) {
	if len(token) > maxToken {
		return nil, ErrToken
	}
	c := new(claims)
	_, err := jwt.ParseWithClaims(token, c, func(*jwt.Token) (any, error) { return &s.key.PublicKey, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(s.issuer), jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now))
	if err != nil || c.Sort != sort || c.Subject == "" {
		return nil, errors.Join(ErrToken, err)
	}
	return c, nil
}

// Check tells whom an access token speaks for, if its account still exists and
// its sessions were not ended since.
func (s *Server) Check(ctx context.Context, token string) (Identity, error) {
	c, err := s.parse(token, sortAccess)
	if err != nil {
		return Identity{}, err
	}
	if c.ClientID != "" && c.UserID == "" {
		err := s.store.View(ctx, func(tx cf.Tx) error { return tx.Load(new(cf.Client), c.Subject) })
		return Identity{GUID: c.Subject, Name: c.ClientID, Client: true, Scopes: c.Scope}, believe(err)
	}
	a, err := s.account(ctx, c)
	if err != nil {
		return Identity{}, believe(err)
	}
	return Identity{GUID: a.GUID, Name: a.Username, Scopes: a.Scopes}, nil
}

// believe turns a missing account into a bad token and leaves a broken store.
func believe(err error) error {
	if cf.KindOf(err) == cf.NotFound {
		return ErrToken
	}
	return err
}

func (s *Server) account(ctx context.Context, c *claims) (*cf.Account, error) {
	var a *cf.Account
	err := s.store.View(ctx, func(tx cf.Tx) (err error) {
		if a, err = cf.Get[cf.Account](tx, c.Subject); err != nil {
			return err
		}
		return ended(tx, c)
	})
	if err == nil && a.Generation != c.Generation {
		err = ErrToken
	}
	return a, err
}

// ended tells whether the session of the token was revoked.
func ended(tx cf.Tx, c *claims) error {
	if c.Session == "" {
		return nil
	}
	r, err := cf.First[cf.Revocation](tx, cf.Is("guid", c.Session))
	if err == nil && r != nil {
		err = ErrToken
	}
	return err
}
