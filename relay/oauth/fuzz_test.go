package oauth

import "testing"

// What a server gives as a token is anything: reading it ends, and no claim of it is
// more than text.
func FuzzDecodeClaims(f *testing.F) {
	for _, s := range []string{
		"", "opaque", "a.b.c", "e30.e30.e30",
		"eyJhbGciOiJSUzI1NiJ9.eyJyb2xlcyI6WyJTTVRQLlNlbmRBc0FwcCJdLCJleHAiOjJlOSwiYXVkIjoieCJ9.AA",
		"eyJhbGciOiJSUzI1NiJ9.eyJyb2xlcyI6MSwiZXhwIjoxZTMwMCwiYXVkIjpbMV19.AA",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c := DecodeClaims(token)
		if !c.Expires.IsZero() && c.Expires.Year() < 1970 {
			t.Errorf("expires %s", c.Expires)
		}
	})
}
