package config

import (
	_ "embed"
	"encoding/json"
	"slices"
)

// schema.json is made of the types and their comments by TestSchemaIsCurrent: go test ./host/config -update
//
//go:embed schema.json
var schemaData []byte

// Schema returns the JSON Schema of a configuration file, for editors. It knows keys, types and choices; Parse knows
// more. The slice is the caller's.
func Schema() json.RawMessage { return slices.Clone(schemaData) }
