package dsn

import (
	"strings"
	"testing"
)

func TestWithoutContent(t *testing.T) {
	const omitted = subjectOmitted
	for in, want := range map[string]string{
		"": "",
		"From: a@b.example\r\nSubject: secret\r\nTo: c@d.example\r\n":                                 "From: a@b.example\r\n" + omitted + "To: c@d.example\r\n",
		"sUBJECT : secret\r\n secret\r\n\tsecret\r\nDate: x\r\n":                                      omitted + "Date: x\r\n",
		"Received: by x;\r\n\tdate\r\nSubject:\r\n secret\r\nSubject: secret\r\n":                     "Received: by x;\r\n\tdate\r\n" + omitted + omitted,
		"Content-Type: application/pdf;\r\n name=\"secret.pdf\"\r\nMIME-Version: 1.0\r\n":             "MIME-Version: 1.0\r\n",
		"CONTENT-DISPOSITION: attachment; filename=secret\r\nContent-Description: secret\r\n":         "",
		"Keywords: secret\r\nComments: secret\r\nThread-Topic: secret\r\nX-Mailer: mfp\r\n":           "X-Mailer: mfp\r\n",
		"Subject: secret\r\nno field: that is one\r\nsecret without a colon\r\nX: y\r\nSubject: secr": omitted + "X: y\r\n" + omitted,
		"secret before any field\r\nX: y\r\n":                                                         "X: y\r\n",
	} {
		got := string(WithoutContent([]byte(in)))
		if got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
		if strings.Contains(got, "secret") {
			t.Errorf("%q tells it", got)
		}
	}
}
