// Package remedy says what an error of a mail server or a provider means and
// what to do about it, in plain words: one table for logs, conditions,
// notifications and commands. It is pure, and knows no secrets.
//
// It imports the standard library only.
package remedy

import (
	"slices"
	"strings"
)

// Failure is an error as a server gave it, or as the transport put it where no
// answer came.
type Failure struct {
	Type     string // spec.type of the MailUpstream; empty: not known
	Code     int    // SMTP reply code or HTTP status; 0: it is looked for at the beginning of Text
	Enhanced string // RFC 3463 "5.7.139"; empty: it is looked for at the beginning of Text
	Text     string
}

// Advice is what a failure means and what to do. Both are one line.
type Advice struct {
	Cause  string // "SMTP AUTH is switched off for the whole tenant"
	Remedy string // "send with OAuth: ..."
	// Credential: the account or credential is what fails, so that no message can
	// pass until a person mends it.
	Credential bool
}

// String is the advice on one line; empty if there is none.
func (a Advice) String() string {
	if a.Cause == "" {
		return ""
	}
	return a.Cause + "; what to do: " + a.Remedy
}

// Passes tells whether the trouble is expected to end without a person.
func (a Advice) Passes() bool {
	return strings.HasPrefix(a.Remedy, "nothing,") || strings.HasPrefix(a.Remedy, "it is tried again") || strings.HasPrefix(a.Remedy, "it goes on")
}

// row is one line of the table. What is given must hold; of the rows that fit
// the most specific counts.
type row struct {
	types    []string // spec.type; none: any
	codes    []int    // reply codes or HTTP statuses; none: any
	enhanced []string // without the class, "7.139"; none: any
	says     []string // one of these phrases; none: whatever it says
	Advice
	source string // where the words and the meaning are from
}

// Find gives the advice of the most specific row that fits f. What it says
// counts more than its codes, which several causes share.
func Find(f Failure) (Advice, bool) {
	if i := find(f); i >= 0 {
		return table[i].Advice, true
	}
	return Advice{}, false
}

// table is looked through in its order: of two rows that fit equally well the
// first counts.
var table = slices.Concat(exchange, graph, entra, oauth, ses, sendGrid, mailgun, postmark, google, reputation, general, connection, noToken)

func find(f Failure) int {
	if f.Code == 0 {
		f.Code = firstCode(f.Text)
	}
	enhanced := f.Enhanced
	if enhanced == "" {
		enhanced = firstEnhanced(f.Text)
	}
	_, enhanced, _ = strings.Cut(enhanced, ".")
	text := strings.ToLower(f.Text)
	best, found := 0, -1
	look := func(rows []int) {
		for _, i := range rows {
			if n := table[i].fits(f, enhanced, text); n > best || n == best && n > 0 && i < found {
				best, found = n, i
			}
		}
	}
	look(byWord[""])
	for w := range strings.FieldsFuncSeq(text, notWord) {
		look(byWord[w])
	}
	return found
}

// byWord are the rows that may fit a text that has a word: those with a phrase
// that begins with it. Those that fit whatever words there are, are under "". A list
// of the queue looks things up for every message, and a text has fewer words than the
// table has phrases.
var byWord = func() map[string][]int {
	m := make(map[string][]int)
	add := func(w string, i int) {
		if !slices.Contains(m[w], i) {
			m[w] = append(m[w], i)
		}
	}
	for i := range table {
		if len(table[i].says) == 0 {
			add("", i)
		}
		for _, phrase := range table[i].says {
			add(firstWord(strings.ToLower(phrase)), i)
		}
	}
	return m
}()

// firstWord is the word that a phrase begins with; empty if it begins otherwise.
func firstWord(phrase string) string {
	if at := strings.IndexFunc(phrase, notWord); at >= 0 {
		return phrase[:at]
	}
	return phrase
}

func notWord(r rune) bool { return r < 0x80 && !word(byte(r)) } //nolint:gosec // it is below 0x80

// Weights of what a row asks for. Details of two digits and more are a vendor's own
// and have one meaning; words are often used, and those below stand for many things.
const (
	weightType = 1 << iota
	weightCode
	weightEnhanced
	weightSays
	weightDetail
)

func weightOf(enhanced string) int {
	_, detail, _ := strings.Cut(enhanced, ".")
	if len(detail) > 1 {
		return weightDetail
	}
	return weightEnhanced
}

// fits gives how specific the row is for f; 0: it does not fit.
func (r *row) fits(f Failure, enhanced, text string) int {
	n := 0
	if len(r.types) > 0 {
		if !slices.Contains(r.types, f.Type) {
			return 0
		}
		n += weightType
	}
	if len(r.codes) > 0 {
		if !slices.Contains(r.codes, f.Code) {
			return 0
		}
		n += weightCode
	}
	if len(r.enhanced) > 0 {
		if !slices.Contains(r.enhanced, enhanced) {
			return 0
		}
		n += weightOf(enhanced)
	}
	if len(r.says) > 0 {
		if !slices.ContainsFunc(r.says, func(p string) bool { return says(text, p) }) {
			return 0
		}
		n += weightSays
	}
	return n
}

// says tells whether text, in lower case, has a phrase as whole words. A star in
// the phrase stands for anything.
func says(text, phrase string) bool {
	for part := range strings.SplitSeq(strings.ToLower(phrase), "*") {
		at := wordIndex(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}

// wordIndex is where text has part, not inside a longer word; negative: nowhere.
func wordIndex(text, part string) int {
	for from := 0; ; {
		at := strings.Index(text[from:], part)
		if at < 0 {
			return -1
		}
		at += from
		end := at + len(part)
		inside := at > 0 && word(text[at-1]) && word(part[0]) || end < len(text) && word(text[end]) && word(part[len(part)-1])
		if !inside {
			return at
		}
		from = at + 1
	}
}

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 0x80
}

// firstEnhanced is an enhanced status code (RFC 3463) among the first words of a
// text; empty: none. An address of four numbers is none.
func firstEnhanced(text string) string {
	words := strings.Fields(text)
	for _, w := range words[:min(len(words), 4)] {
		w = strings.Trim(w, "#<>()[]:;,-")
		class, rest, ok := strings.Cut(w, ".")
		subject, detail, two := strings.Cut(rest, ".")
		if ok && two && (class == "4" || class == "5") && number(subject) && number(detail) {
			return w
		}
	}
	return ""
}

// firstCode is a reply code or status that a text begins with; 0: there is none.
func firstCode(text string) int {
	word, _, _ := strings.Cut(text, " ")
	if len(word) != 3 || !number(word) || word[0] != '4' && word[0] != '5' {
		return 0
	}
	return 100*int(word[0]-'0') + 10*int(word[1]-'0') + int(word[2]-'0')
}

func number(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 3
}

// credentialCodes are those that always speak of the credential: of SMTP (RFC 4954
// 6), and of HTTP (RFC 9110 15.5.2).
var credentialCodes = []int{534, 535, 538, 401}

// Credential tells whether a failure speaks of the account or the credential, by
// the table, or by its code where the table does not know it.
func Credential(f Failure) bool {
	if a, ok := Find(f); ok {
		return a.Credential
	}
	return slices.Contains(credentialCodes, f.Code)
}
