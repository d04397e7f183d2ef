package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/secrets"
)

// The header fields of Standard Webhooks.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

// SecretKey is the key of a Secret that holds the signing secrets.
const SecretKey = "signingSecret"

const (
	secretPrefix = "whsec_"
	minSecret    = 24 // octets
	maxSecret    = 64
	maxSecrets   = 4 // while they are rotated
)

// signingSecrets reads those of a Secret. An error does not show them.
func signingSecrets(src secrets.Source, name string) ([][]byte, error) {
	text, err := secrets.Key(src, name, SecretKey)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		coded, ok := strings.CutPrefix(line, secretPrefix)
		key, err := base64.StdEncoding.DecodeString(coded)
		if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
			return nil, fmt.Errorf("secret %q: line %d of %s is no signing secret: write %s and %d to %d octets in base64 (echo %s$(openssl rand -base64 32))", name, n+1, SecretKey, secretPrefix, minSecret, maxSecret, secretPrefix)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxSecrets {
		return nil, fmt.Errorf("secret %q: %s holds %d signing secrets: write one, or up to %d while they are rotated, one a line", name, SecretKey, len(keys), maxSecrets)
	}
	return keys, nil
}

// sign puts into a request's header who sends body, by each of the keys. The body is
// sent as it is signed, and neither ID nor time has a full stop.
func sign(header http.Header, id string, at time.Time, body []byte, keys [][]byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	header.Set(headerID, id)
	header.Set(headerTimestamp, stamp)
	header.Set(headerSignature, strings.Join(signatures, " "))
}
