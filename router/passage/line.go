package passage

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// maxLine bounds a line, with its end.
const maxLine = 256

// ask is the first line of a connection. The zero instance asks for a session.
type ask struct {
	instance string
	port     uint16
}

const version = "dew/1"

var guidForm = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

func (a ask) String() string {
	if a.instance == "" {
		return version + " session\n"
	}
	return fmt.Sprintf("%s instance %s %d\n", version, a.instance, a.port)
}

var errAsk = errors.New("this is no question of a router")

// parseAsk reads a first line, which may come from anybody who has a certificate.
func parseAsk(line string) (ask, error) {
	f := strings.Split(line, " ")
	switch {
	case len(f) < 2 || f[0] != version:
		return ask{}, errAsk
	case len(f) == 2 && f[1] == "session":
		return ask{}, nil
	case len(f) != 4 || f[1] != "instance" || !guidForm.MatchString(f[2]):
		return ask{}, errAsk
	}
	port, err := strconv.ParseUint(f[3], 10, 16)
	if err != nil || port == 0 || strconv.FormatUint(port, 10) != f[3] {
		return ask{}, errAsk
	}
	return ask{f[2], uint16(port)}, nil
}

// parseWord reads a line of a session: a word and a GUID.
func parseWord(line, word string) (guid string, ok bool) {
	guid, ok = strings.CutPrefix(line, word+" ")
	return guid, ok && guidForm.MatchString(guid)
}

// readLine reads up to a line's end and not a byte more, because what follows
// belongs to somebody else.
func readLine(r io.Reader) (string, error) {
	line := make([]byte, 0, 80)
	var b [1]byte
	for len(line) < maxLine {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
	return "", fmt.Errorf("a line has more than %d bytes", maxLine)
}
