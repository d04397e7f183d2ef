package manifest

import "strings"

// where cuts the lines off what a loader has seen.
func where(seen map[string]string) map[string]string {
	out := make(map[string]string, len(seen))
	for object, at := range seen {
		out[object] = at[:strings.LastIndexByte(at, ':')]
	}
	return out
}

// Touched tells what the problems leave in doubt: objects that are there and
// must not be used as they were read, and files of which it is not known what
// they hold.
func (ps Problems) Touched() (objects, files map[string]bool) {
	objects, files = map[string]bool{}, map[string]bool{}
	for _, p := range ps {
		if p.Object == "" {
			files[p.File] = true
		} else {
			objects[p.Object] = true
		}
	}
	return objects, files
}
