package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
)

// Downloads are answered with a redirection to a ticket, because clients insist
// on one: a URL that is good for a few minutes and for one blob, whoever shows
// it. Clients follow it without their token, and tickets end with the server.
const ticketLife = 5 * time.Minute

func (s *Server) ticket(kind, sum string) string {
	expires := strconv.FormatInt(s.now().Add(ticketLife).Unix(), 10)
	return s.url + "/blobs/" + kind + "/" + sum + "?" + url.Values{"expires": {expires}, "signature": {s.sign(kind, sum, expires)}}.Encode()
}

func (s *Server) sign(kind, sum, expires string) string {
	h := hmac.New(sha256.New, s.tickets[:])
	fmt.Fprintf(h, "%s\n%s\n%s", kind, sum, expires)
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Server) redeem(w http.ResponseWriter, r *http.Request) {
	kind, sum, q := chi.URLParam(r, "kind"), chi.URLParam(r, "sum"), r.URL.Query()
	expires, err := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err != nil || !hmac.Equal([]byte(q.Get("signature")), []byte(s.sign(kind, sum, q.Get("expires")))) || s.now().Unix() > expires {
		s.fail(w, r, &refusal{403, 10003, "CF-NotAuthorized", "The link is wrong or too old: ask for the download again."})
		return
	}
	if kind == "droplets" {
		s.sendDroplet(w, r, sum)
		return
	}
	f, err := os.Open(s.blobs.Path(sum))
	if err != nil {
		s.fail(w, r, notFound("Blob"))
		return
	}
	defer f.Close() // only read
	w.Header().Set("Content-Type", "application/zip")
	http.ServeContent(w, r, "", time.Time{}, f)
}

// redirect sends the client to a ticket. load finds for which bytes, and notes who
// gets them.
func (c *call) redirect(w http.ResponseWriter, kind string, load func() (sum string, err error)) error {
	var sum string
	if err := c.transact(true, func() (err error) { sum, err = load(); return err }); err != nil {
		return err
	}
	http.Redirect(w, c.r, c.ticket(kind, sum), http.StatusFound)
	return nil
}
