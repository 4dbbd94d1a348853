package fsx

import (
	"os"
	"path"
)

// Replace makes data the content of a small file, whole or not at all, and
// durable when it returns nil.
func Replace(f FS, name string, data []byte) error {
	fresh := name + ".new"
	file, err := f.Open(fresh, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(data, 0)
	if err == nil {
		err = file.Datasync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = f.Rename(fresh, name)
	}
	if err != nil {
		return err
	}
	return f.SyncDir(path.Dir(name))
}

// Content reads a small file.
func Content(f FS, name string) ([]byte, error) {
	file, err := f.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if n, err := file.ReadAt(data, 0); int64(n) < size {
		return nil, err
	}
	return data, nil
}
