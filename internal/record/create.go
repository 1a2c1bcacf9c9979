package record

import (
	"errors"
	"os"
)

// File is a file of another format, created with the same care as those of a recording:
// only its owner can read it, it replaces nothing, and it follows no symbolic link.
type File struct {
	*os.File
	dir  *directory
	name string
}

// Create creates a file, and with force replaces a regular file of that name. The caller
// must Close or Discard it. The error satisfies os.ErrExist if the file exists.
func Create(path string, force bool) (*File, error) {
	dir, name, err := openDirectory(path, nil)
	if err != nil {
		return nil, err
	}
	file, err := dir.create(name, force)
	if err != nil {
		dir.close()
		return nil, kept(err)
	}
	return &File{File: file, dir: dir, name: name}, nil
}

// Close syncs the file to disk and closes it.
func (f *File) Close() error {
	if err := errors.Join(sync(f.File), f.File.Close()); err != nil {
		return err
	}
	f.dir.close()
	return nil
}

// Discard removes the file. It may be called after Close failed.
func (f *File) Discard() error {
	defer f.dir.close()
	f.File.Close() // its error no longer matters
	return f.dir.remove(f.name)
}

// Discard removes the files that the Writer created. It may be called instead of Close,
// or after Close failed.
func (w *Writer) Discard() error {
	if w.dir == nil {
		return nil
	}
	w.abandon()
	dir, _, err := openDirectory(w.o.Path, w.o.As)
	if err != nil {
		return err
	}
	defer dir.close()
	for _, name := range w.made {
		err = errors.Join(err, dir.remove(name))
	}
	return err
}
