// Prints the objects of a kustomization, or of YAML on its standard input, as one list of JSON, for programs that know no YAML.
//
// Usage: objects [DIRECTORY]
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	objects, err := read(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(objects)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "objects:", err)
		os.Exit(1)
	}
}

func read(directories []string) ([]map[string]any, error) {
	objects := []map[string]any{}
	if len(directories) > 0 {
		// What `kubectl kustomize` is, with its options. Its output isn't read: where a folded text has a line that is indented
		// further it prints an empty line too many.
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directories[0])
		if err != nil {
			return nil, err
		}
		for _, resource := range built.Resources() {
			object, err := resource.Map()
			if err != nil {
				return nil, err
			}
			objects = append(objects, object)
		}
		return objects, nil
	}
	for decoder := yaml.NewYAMLOrJSONDecoder(os.Stdin, 4096); ; {
		var object map[string]any
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		// Between two separators there may be comments alone.
		if len(object) > 0 {
			objects = append(objects, object)
		}
	}
}
