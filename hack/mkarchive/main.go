// Mkarchive packs files for people to download: a .tar.gz, or a .zip for Windows. Owners,
// times and order are the same wherever it runs, so that the same files give the same
// octets with the same Go. Imports nothing but the standard library.
package main

import (
	"archive/tar"
	"archive/zip"
	"compress/flate"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkarchive:", err)
		os.Exit(1)
	}
}

// file is one that is packed, whole in memory: a program has some 70 MB.
type file struct {
	name    string
	mode    os.FileMode
	content []byte
}

func run(args []string) error {
	flags := flag.NewFlagSet("mkarchive", flag.ContinueOnError)
	out := flags.String("o", "", "`FILE` to write, .tar.gz or .zip")
	created := flags.Int64("created", 0, "`SECONDS` since 1970 that all files say they are from (SOURCE_DATE_EPOCH)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 || *out == "" {
		return errors.New("usage: mkarchive -o FILE [-created SECONDS] NAME=FILE... (-h lists the flags)")
	}
	var files []file
	for _, arg := range flags.Args() {
		f, err := readFile(arg)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	pack := tarGz
	switch {
	case strings.HasSuffix(*out, ".zip"):
		pack = zipped
	case !strings.HasSuffix(*out, ".tar.gz"):
		return fmt.Errorf("%s: want a name that ends in .tar.gz or .zip", *out)
	}
	w, err := os.Create(*out)
	if err != nil {
		return err
	}
	return errors.Join(pack(w, files, time.Unix(*created, 0).UTC()), w.Close())
}

// readFile reads NAME=FILE. Whoever may read a file may run it where its owner may.
func readFile(arg string) (f file, err error) {
	name, path, ok := strings.Cut(arg, "=")
	if !ok || name == "" || path == "" {
		return f, fmt.Errorf("%q: want NAME=FILE", arg)
	}
	info, err := os.Stat(path)
	if err != nil {
		return f, err
	}
	f = file{name: name, mode: 0o644}
	if info.Mode()&0o100 != 0 {
		f.mode = 0o755
	}
	f.content, err = os.ReadFile(path)
	return f, err
}

func tarGz(w io.Writer, files []file, at time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression) // its header has neither name nor time
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: int64(f.mode), Size: int64(len(f.content)), ModTime: at, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

func zipped(w io.Writer, files []file, at time.Time) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at}
		h.SetMode(f.mode)
		to, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := to.Write(f.content); err != nil {
			return err
		}
	}
	return z.Close()
}
