package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The stories are told on the binary that users get: each folder below
// testdata/stories has a config, messages, perhaps zones, and story.txt, which
// says what happens and what everybody must see. Its commands are those of
// testscript and the ones in story_commands_test.go; the rest of the folder is
// copied beside it, with templates filled in (story_world_test.go).
func TestStories(t *testing.T) {
	folders, err := filepath.Glob("testdata/stories/*/story.txt")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range folders {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, testscript.Params{
				Files: []string{file},
				Setup: func(env *testscript.Env) error { return setup(t, env, filepath.Dir(file)) },
				Cmds:  storyCommands,
			})
		})
	}
}

// setup makes the world of one story; it ends with the story.
func setup(t testing.TB, env *testscript.Env, folder string) error {
	w := newWorld(scriptTB{t, env.T(), env.Defer}, env.WorkDir)
	if err := w.copyFolder(folder); err != nil {
		return err
	}
	for key, value := range w.names {
		env.Setenv(envName(key), value)
	}
	env.Setenv("PATH", filepath.Dir(w.binary)+":"+env.Getenv("PATH"))
	env.Values[worldKey{}] = w
	return nil
}

type worldKey struct{}

// scriptTB lets helpers that want a testing.TB fail or skip the story itself,
// not the test around it, whose goroutine is another one.
type scriptTB struct {
	testing.TB
	script testscript.T
	later  func(func())
}

func (s scriptTB) Helper()           {}
func (s scriptTB) Cleanup(f func())  { s.later(f) }
func (s scriptTB) Skip(args ...any)  { s.script.Skip(args...) }
func (s scriptTB) Fatal(args ...any) { s.script.Fatal(args...) }
func (s scriptTB) Fatalf(format string, args ...any) {
	s.TB.Errorf(format, args...)
	s.script.FailNow()
}

// build makes the binary, once, the way users get it: without cgo.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mailweir-stories-")
	if err != nil {
		return "", err
	}
	scratch = dir
	path := filepath.Join(dir, "gateway")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
})

func builtBinary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatalf("building the gateway: %v", err)
	}
	return path
}

var scratch string // of build, if it ran

func TestMain(m *testing.M) {
	code := m.Run()
	if scratch != "" {
		os.RemoveAll(scratch)
	}
	os.Exit(code)
}
