package console

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// visible spells out the characters of a page that are not seen, or that turn
// around the order of what is (Unicode TR 36): a copier's name must not make one
// thing look like another. It is done to the whole page behind the templates, which
// hold none themselves, so that no field can be forgotten.
func visible(page []byte) []byte {
	out := make([]byte, 0, len(page)+len(page)/16)
	for i := 0; i < len(page); {
		r, n := utf8.DecodeRune(page[i:])
		switch {
		case r == '\n' || r == '\t':
			out = append(out, byte(r))
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, "⟨%02X⟩", page[i])
		case r == ' ' || unicode.IsGraphic(r) && !unicode.In(r, unicode.Zs, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			out = append(out, page[i:i+n]...)
		default: // Cc, Cf, Co, Cs, Zl, Zp, fillers, spaces that are not the ordinary one, and what Unicode does not know
			out = fmt.Appendf(out, "⟨U+%04X⟩", r)
		}
		i += n
	}
	return out
}
