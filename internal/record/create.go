package record

import "os"

// Create makes a file as those of a recording are made: for its owner alone, and
// through no link. With force it replaces a regular file of that name, else none.
func Create(path string, force bool) (*os.File, error) {
	d, name, err := openDirectory(path, nil)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.create(name, force)
}
