package oauth

import (
	"encoding/json"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Claims are what a token says of itself. Nobody has verified it: it is for telling
// a person what is missing, never for deciding.
type Claims struct {
	Roles    []string  // application permissions: SMTP.SendAsApp, Mail.Send
	Expires  time.Time // zero: it does not say
	AppID    string
	Tenant   string
	Audience string
}

// DecodeClaims reads a token that is a JWT; of another one it gives nothing.
func DecodeClaims(token string) Claims {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.HS256,
	})
	if err != nil {
		return Claims{}
	}
	var c struct {
		Roles  any     `json:"roles"`
		Exp    float64 `json:"exp"`
		AppID  string  `json:"appid"`
		AzP    string  `json:"azp"`
		Tenant string  `json:"tid"`
		Aud    any     `json:"aud"`
	}
	if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &c) != nil {
		return Claims{}
	}
	out := Claims{Roles: texts(c.Roles), AppID: c.AppID, Tenant: c.Tenant}
	if out.AppID == "" { // as tokens of version 2 have it
		out.AppID = c.AzP
	}
	if aud := texts(c.Aud); len(aud) > 0 {
		out.Audience = aud[0]
	}
	if c.Exp > 0 && c.Exp < 1<<40 {
		out.Expires = time.Unix(int64(c.Exp), 0)
	}
	return out
}

// texts gives a claim that is one string or a list of them.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
