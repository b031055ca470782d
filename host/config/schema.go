package config

import (
	_ "embed"
	"encoding/json"
	"slices"
)

// TestSchemaIsCurrent makes schema.json from the types and their comments: go test ./host/config -update
//
//go:embed schema.json
var schemaData []byte

// Schema returns the JSON Schema of a configuration file, for editors. The schema checks keys, types and choices; Parse checks more.
// The caller owns the slice.
func Schema() json.RawMessage { return slices.Clone(schemaData) }
