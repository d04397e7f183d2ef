package cli

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The relay's command takes the arguments that the operator gives its Pods.
func TestArgumentsOfPods(t *testing.T) {
	files, err := filepath.Glob("../../controllers/render/testdata/*/objects.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	checked := 0
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for docs := yaml.NewDecoder(bufio.NewReader(f)); ; {
			var d struct {
				Kind string
				Spec struct {
					Template struct {
						Spec struct{ Containers []struct{ Args []string } }
					}
				}
			}
			if err := docs.Decode(&d); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, c := range d.Spec.Template.Spec.Containers {
				checked++
				var out, problems bytes.Buffer
				if code := Main(append(c.Args, "--help"), &out, &problems); code != 0 {
					t.Fatalf("%s: %q exits %d: %s", file, c.Args, code, &problems)
				}
				if !strings.Contains(out.String(), "--admin-access") {
					t.Errorf("%s: that was not the relay's help:\n%s", file, &out)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no Deployment in the golden files")
	}
}

// What is wrong with the operator's command line is said, with the flag.
func TestOperatorsFlags(t *testing.T) {
	for args, want := range map[string]string{
		"operator --namespace a":                                         `"image"`,
		"operator --image a":                                             `"namespace"`,
		"operator --image a --namespace b --log-format x":                "--log-format",
		"operator --image a --namespace b --metrics-authentication Open": "--metrics-authentication",
	} {
		var out, problems bytes.Buffer
		if code := Main(strings.Fields(args), &out, &problems); code == 0 || !strings.Contains(problems.String(), want) {
			t.Errorf("%s: exit %d, %s", args, code, &problems)
		}
	}
}
