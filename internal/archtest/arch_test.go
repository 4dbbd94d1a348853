// Package archtest holds the architecture to its word: imports go downward
// only, and what the documentation names exists.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "mailweir"

// layer is the height of a package: it may import lower ones only
// (docs/architecture.md, "May import").
func layer(pkg string) int {
	switch first, _, _ := strings.Cut(pkg, "/"); {
	case pkg == "cmd/gateway" || first == "bench":
		return 7
	case pkg == "smtpd" || pkg == "report":
		return 6
	case strings.HasPrefix(pkg, "filter/"):
		return 5
	case pkg == "filter":
		return 4
	case pkg == "queue" || pkg == "relay" || pkg == "dnsbl":
		return 3
	case pkg == "mail" || pkg == "internal/daykey" || pkg == "internal/fsx" || pkg == "internal/jsonx":
		return 1
	case pkg == "metrics" || first == "internal" || first == "configs":
		return 2
	}
	return -1
}

// sideways are the imports inside of a layer that are meant: a package and the
// test double that belongs to it.
var sideways = map[string]bool{
	"internal/dns/dnstest -> internal/dns": true,
}

func TestImportsGoDownward(t *testing.T) {
	root := repository(t)
	out, err := command(root, "go", "list", "-json=ImportPath,Imports", "./...")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		if layer(from) < 0 {
			t.Errorf("%s is in no layer of docs/architecture.md", from)
		}
		for _, i := range p.Imports {
			to, ours := strings.CutPrefix(i, module+"/")
			if !ours {
				continue
			}
			checked++
			if layer(to) >= layer(from) && !sideways[from+" -> "+to] {
				t.Errorf("%s imports %s: not downward", from, to)
			}
		}
	}
	if checked < 20 {
		t.Fatalf("only %d imports were looked at", checked)
	}
}

// flow.md names functions as `pkg.Type.Method`, `type.method` or `name`, and
// links to files.
var (
	codeSpan = regexp.MustCompile("`([a-z]+\\.)?([A-Za-z]+\\.)?([A-Za-z]+)`")
	link     = regexp.MustCompile(`\]\((\.\./[^)#]+|[a-z0-9/-]+\.md)\)`)
)

func TestFlowNamesWhatExists(t *testing.T) {
	root := repository(t)
	known := declarations(t, root)
	for _, doc := range []string{"docs/flow.md", "README.md"} {
		text, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			}
		}
		if doc == "README.md" {
			continue
		}
		names := 0
		for _, m := range codeSpan.FindAllStringSubmatch(string(text), -1) {
			names++
			if !known[m[2]+m[3]] && !known[m[1]+m[3]] {
				t.Errorf("%s names `%s%s%s`, which does not exist", doc, m[1], m[2], m[3])
			}
		}
		if names < 20 {
			t.Errorf("%s: only %d names were looked at", doc, names)
		}
	}
}

// declarations are all functions and "Type.Method"s of the module, and its
// package names.
func declarations(t *testing.T, root string) map[string]bool {
	known := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				known[receiver(fn)+fn.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if name, ok := typ.(*ast.Ident); ok {
		return name.Name + "."
	}
	return ""
}

func repository(t *testing.T) string {
	out, err := command(".", "go", "env", "GOMOD")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

func command(dir, name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Stderr = os.Stderr
	return c.Output()
}
