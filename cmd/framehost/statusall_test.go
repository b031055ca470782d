package main

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/framehost/framehost/host/control"
)

// A filler gives each number and each text of a status a distinct value.
type filler struct {
	next   int
	skip   []string          // paths
	values map[string]string // by path
}

func (f *filler) fill(v reflect.Value, path string) {
	for _, skip := range f.skip {
		if strings.HasSuffix(path, skip) {
			return
		}
	}
	switch v.Interface().(type) {
	case time.Time, time.Duration:
		return
	case bool:
		v.SetBool(true)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if v.Type().Field(i).Anonymous {
				f.fill(v.Field(i), path)
			} else {
				f.fill(v.Field(i), path+"."+name)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(v.Index(0), path)
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		f.fill(value, path)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(f.number(path+".key", "k")), value)
	case reflect.String:
		v.SetString(f.number(path, "s"))
	case reflect.Int, reflect.Int64:
		f.number(path, "")
		v.SetInt(int64(f.next))
	case reflect.Uint64:
		f.number(path, "")
		v.SetUint(uint64(f.next))
	default:
		panic(fmt.Sprintf("%s is a %s", path, v.Kind()))
	}
}

func (f *filler) number(path, prefix string) string {
	f.next++
	f.values[path] = fmt.Sprint(prefix, f.next)
	return f.values[path]
}

// The text has each field that --json has, or says that it leaves it out.
func TestStatusTextHasAll(t *testing.T) {
	elsewhere := regexp.MustCompile(`[a-z_]+`).FindAllString(onlyInJSON, -1)
	for name, skip := range map[string][]string{
		"hub":           {".flows", ".routes.to_upstream", ".routes.to_downstream", ".sessions"},
		"to upstream":   {".hub", ".to_downstream"},
		"to downstream": {".hub", ".to_upstream"},
	} {
		// Violations are printed without the tails among them; see TestPrintStatus. A receiver that is not connected has no peer and
		// no traffic.
		skip = append(skip, ".violations", ".away.peer", ".away.bytes_waiting", ".away.bytes_unwritten", ".away.bytes_written", ".away.frames_out")
		f := &filler{next: 100, skip: skip, values: map[string]string{}}
		s := &control.Status{}
		f.fill(reflect.ValueOf(s).Elem(), "")
		var text strings.Builder
		if err := printStatus(&text, s, time.Now()); err != nil {
			t.Fatal(err)
		}
		if f.next > 1000 {
			t.Fatalf("%d values; sizes beyond 1023 are printed in other units", f.next)
		}
	paths:
		for path, value := range f.values {
			for _, key := range elsewhere {
				if strings.HasSuffix(path, "."+key) {
					continue paths
				}
			}
			if !regexp.MustCompile(`(^|\W)` + value + `($|\W|B)`).MatchString(text.String()) {
				t.Errorf("%s: %s is %s, which is not in\n%s", name, path, value, text.String())
			}
		}
	}
}
