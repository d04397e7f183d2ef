// Crosscheck tells whether the program compiles on other systems, without compiling it:
// its packages are type-checked for each, those that it imports as far as their
// declarations go. It takes seconds where a compiler takes minutes; `make dist` builds.
// It imports golang.org/x/tools/go/packages.
package main

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	dir := flag.String("dir", ".", "`FOLDER` of the program's package")
	flag.Parse()
	failed := flag.NArg() == 0
	if failed {
		fmt.Fprintln(os.Stderr, "usage: crosscheck [-dir FOLDER] OS/ARCH...")
	}
	for _, target := range flag.Args() {
		if err := check(*dir, target); err != nil {
			failed = true
			fmt.Fprintf(os.Stderr, "crosscheck: %s: %v\n", target, err)
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check type-checks the program in dir for a target, which is OS/ARCH.
func check(dir, target string) error {
	goos, arch, ok := strings.Cut(target, "/")
	if !ok {
		return errors.New("want OS/ARCH")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	env := append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0")
	ours, err := packagesOf(dir, env)
	if err != nil {
		return err
	}
	all, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedTypesSizes,
		Dir:  dir, Env: env,
		ParseFile: func(fset *token.FileSet, name string, src []byte) (*ast.File, error) {
			f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
			if f != nil && !strings.HasPrefix(name, dir+string(filepath.Separator)) {
				withoutBodies(f)
			}
			return f, err
		},
	}, ours...)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range all {
		for _, e := range p.Errors {
			errs = append(errs, e)
		}
	}
	return errors.Join(errs...)
}

// packagesOf are those of the program's own module.
func packagesOf(dir string, env []string) ([]string, error) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{if .Module.Main}}{{.ImportPath}}{{end}}{{end}}", ".")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// withoutBodies drops what is not looked at of others' packages, to save memory.
func withoutBodies(f *ast.File) {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			fn.Body = &ast.BlockStmt{Lbrace: fn.Body.Lbrace, Rbrace: fn.Body.Rbrace}
		}
	}
}
