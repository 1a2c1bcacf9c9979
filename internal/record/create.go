package record

import (
	"errors"
	"os"
)

// File is a file of another format, made as those of a recording are: for its owner
// alone, over nothing that is there, and through no link.
type File struct {
	*os.File
	dir  *directory
	name string
}

// Create makes a file. Close it, or Discard it.
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

// Close has the file on the disk before it closes it.
func (f *File) Close() error {
	if err := errors.Join(sync(f.File), f.File.Close()); err != nil {
		return err
	}
	f.dir.close()
	return nil
}

// Discard takes the file away again. It may be called where Close has failed.
func (f *File) Discard() error {
	defer f.dir.close()
	f.File.Close() // what it says is no matter any more
	return f.dir.remove(f.name)
}

// Discard takes away the files that the Writer has made. It may be called in place of
// Close, or where that has failed.
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
