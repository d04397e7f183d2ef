package message

import (
	"strings"
	"testing"
)

// Every octet of a line of base64 is looked at, wherever it stands.
func TestEveryOctetOfBase64(t *testing.T) {
	line := strings.Repeat("JVBERi0xLjQK", 7)[:76]
	for i := range len(line) + 1 {
		bad := line[:i] + "!" + line[i:]
		if l := (&leaf{}); !l.base64([]byte(line[:i])) || l.base64([]byte(bad)) {
			t.Errorf("octet %d: %q", i, bad)
		}
	}
	if l := (&leaf{}); !l.base64([]byte("JVBERi0xLjQKJVB=")) || l.base64([]byte("JVBERi0xLjQK")) {
		t.Error("base64 goes on behind its padding")
	}
}
