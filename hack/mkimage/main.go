// Mkimage packs a static program as a container image, without a Docker engine:
// an OCI image layout in a tar archive, with an image for each architecture that
// the program is given for, which containerd, docker load and podman import and
// crane pushes. In an image are the program and empty folders that its user owns,
// as the Dockerfile of this repository says, and nothing else. The same input
// gives the same octets, on any machine with the same Go; the digest, by which a
// registry will know the image, is printed. Imports nothing but the standard library.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("mkimage", flag.ContinueOnError)
	im := image{user: owner{65532, 65532}, labels: map[string]string{}}
	var reference, out string
	flags.StringVar(&reference, "ref", "", "`REFERENCE` of the image, with its tag")
	flags.StringVar(&out, "o", "", "`FILE` to write")
	flags.StringVar(&im.path, "path", "", "`PATH` of the program in the image (default /usr/local/bin/ and its name)")
	flags.Func("user", "`UID:GID` the program runs as (default 65532:65532)", func(s string) (err error) {
		im.user, err = parseOwner(s)
		return err
	})
	flags.Func("folder", "`PATH` of an empty folder that the user owns; may be repeated", func(s string) error {
		im.folders = append(im.folders, s)
		return nil
	})
	flags.Func("label", "`NAME=VALUE`; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return errors.New("wants NAME=VALUE")
		}
		im.labels[name] = value
		return nil
	})
	flags.Func("created", "`SECONDS` since 1970 that the image says it is from (SOURCE_DATE_EPOCH; default 0)", func(s string) error {
		seconds, err := strconv.ParseUint(s, 10, 33)
		im.created = time.Unix(int64(seconds), 0).UTC() //nolint:gosec // 33 bits
		return err
	})
	im.created = time.Unix(0, 0).UTC()
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 || reference == "" || out == "" {
		return errors.New("usage: mkimage -ref REFERENCE -o FILE [FLAGS] PROGRAM... (the same for each architecture; -h lists the flags)")
	}
	if im.path == "" {
		im.path = path.Join("/usr/local/bin", path.Base(flags.Arg(0)))
	}
	archive, digest, err := im.archive(reference, flags.Args())
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, archive, 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, digest)
	return err
}

func parseOwner(s string) (owner, error) {
	uid, gid, ok := strings.Cut(s, ":")
	u, uerr := strconv.ParseUint(uid, 10, 31)
	g, gerr := strconv.ParseUint(gid, 10, 31)
	if !ok || uerr != nil || gerr != nil {
		return owner{}, errors.New("wants UID:GID, in figures")
	}
	return owner{int(u), int(g)}, nil //nolint:gosec // 31 bits
}
