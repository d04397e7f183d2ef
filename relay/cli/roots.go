package cli

// The certificate authorities of Mozilla's programme, for systems that have
// none: the image is the program alone, and which authorities it trusts follows
// from go.sum. Those of the system, or of SSL_CERT_FILE, take their place.
import _ "golang.org/x/crypto/x509roots/fallback" // registers itself
