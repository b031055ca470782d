//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// clockTicks is the number of clock ticks in /proc per second. It is the same on every Linux system.
const clockTicks = 100

// A stat has the values of a process that are read from /proc.
type stat struct {
	parent int
	cpu    float64 // seconds, user and system
}

// readStat reads the stat file of a process. It counts the fields from the one after the name, because the name may contain any bytes.
func readStat(pid string) (s stat, err error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return s, err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const parent, user, system = 1, 11, 12
	if len(fields) <= system {
		return s, fmt.Errorf("/proc/%s/stat has %d fields", pid, len(fields))
	}
	var numbers [3]int
	for i, field := range []int{parent, user, system} {
		if numbers[i], err = strconv.Atoi(string(fields[field])); err != nil {
			return s, fmt.Errorf("/proc/%s/stat: %w", pid, err)
		}
	}
	return stat{numbers[0], float64(numbers[1]+numbers[2]) / clockTicks}, nil
}

// cpuOf returns the CPU time of a process and of each of its descendants, in seconds, by process number.
func cpuOf(root int) (map[int]float64, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	stats := map[int]stat{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(e.Name()); err == nil { // the process may have ended in the meantime
			stats[pid] = s
		}
	}
	tree := map[int]float64{}
	for pid, s := range stats {
		for at := pid; ; at = stats[at].parent {
			if at == root {
				tree[pid] = s.cpu
			}
			if at == root || at == 0 {
				break
			}
		}
	}
	if len(tree) == 0 {
		return nil, fmt.Errorf("there is no process %d", root)
	}
	return tree, nil
}

// cpuBetween returns the CPU time used between two results of cpuOf, in seconds.
func cpuBetween(before, after map[int]float64) (sum float64, err error) {
	for pid, cpu := range after {
		sum += cpu - before[pid]
	}
	for pid := range before {
		if _, ok := after[pid]; !ok {
			return 0, fmt.Errorf("process %d of the relay has ended", pid)
		}
	}
	return sum, nil
}

// pssOf returns the memory of a process and all its descendants, in bytes. Memory that they share counts once.
func pssOf(root int) (sum int64, err error) {
	tree, err := cpuOf(root)
	if err != nil {
		return 0, err
	}
	for pid := range tree {
		file := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		_, text, _ = bytes.Cut(text, []byte("\nPss:"))
		var size int64
		if _, err := fmt.Sscanf(string(text), "%d kB", &size); err != nil {
			return 0, fmt.Errorf("%s: Pss: %w", file, err)
		}
		sum += size * kib
	}
	return sum, nil
}
