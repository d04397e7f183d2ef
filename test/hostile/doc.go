// Package hostile has crowds of hostile clients attack a real relay process, and
// measures that its memory stays below the bound that docs/limits.md states, while a
// copier goes on scanning. It holds nothing but tests.
package hostile
