package kubectl

import (
	"bytes"
	"os"
	"testing"
)

// Colours are for terminals, and for who has not said that they want none.
func TestPainterFor(t *testing.T) {
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as terminals are
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	file, err := os.Create(t.TempDir() + "/list")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	if !PainterFor(terminal) || PainterFor(file) || PainterFor(&bytes.Buffer{}) {
		t.Error("a terminal has colours, and nothing else")
	}
	t.Setenv("TERM", "dumb")
	if PainterFor(terminal) {
		t.Error("a terminal that knows no colours has some")
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if PainterFor(terminal) {
		t.Error("NO_COLOR is not heeded")
	}
	if got := Painter(true).In(Bad, ""); got != "" {
		t.Errorf("nothing in red is %q", got)
	}
}
