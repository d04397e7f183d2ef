// Mkimage packs a static program as a container image, without a Docker engine:
// a docker-archive of one layer, which containerd imports. What it packs is what
// the Dockerfile of this repository makes of a program: the program, files, empty
// folders that the image's user owns. The same input gives the same octets.
// Imports nothing but the standard library.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("mkimage", flag.ContinueOnError)
	var im image
	var out string
	flags.StringVar(&im.reference, "ref", "", "`REFERENCE` of the image, with its tag")
	flags.StringVar(&out, "o", "", "`FILE` to write")
	flags.StringVar(&im.program.path, "path", "", "`PATH` of the program in the image (default /usr/local/bin/ and its name)")
	flags.Func("user", "`UID:GID` the program runs as (default 65532:65532)", func(s string) (err error) {
		im.user, err = parseOwner(s)
		return err
	})
	flags.Func("folder", "`PATH` of an empty folder that the user owns; may be repeated", func(s string) error {
		im.folders = append(im.folders, s)
		return nil
	})
	flags.Func("file", "`SOURCE:PATH`: a file, and where it is in the image; may be repeated", func(s string) error {
		source, target, ok := strings.Cut(s, ":")
		if !ok {
			return errors.New("wants SOURCE:PATH")
		}
		im.files = append(im.files, file{source: source, path: target, mode: 0o644})
		return nil
	})
	im.user = owner{65532, 65532}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 || im.reference == "" || out == "" {
		return errors.New("usage: mkimage -ref REFERENCE -o FILE [FLAGS] PROGRAM (-h lists the flags)")
	}
	im.program.source, im.program.mode = flags.Arg(0), 0o755
	if im.program.path == "" {
		im.program.path = path.Join("/usr/local/bin", path.Base(im.program.source))
	}
	archive, err := im.archive()
	if err != nil {
		return err
	}
	return os.WriteFile(out, archive, 0o600)
}

func parseOwner(s string) (owner, error) {
	uid, gid, ok := strings.Cut(s, ":")
	u, uerr := strconv.ParseUint(uid, 10, 31)
	g, gerr := strconv.ParseUint(gid, 10, 31)
	if !ok || uerr != nil || gerr != nil {
		return owner{}, errors.New("wants UID:GID, in figures")
	}
	return owner{int(u), int(g)}, nil
}
