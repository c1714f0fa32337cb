package grants

// FormPaths returns the paths of all forms that a human can post.
func FormPaths() (paths []string) {
	for _, f := range (&pageHandler{policy: &Policy{}}).allForms() {
		paths = append(paths, f.path)
	}
	return paths
}

// NicknameOf is nicknameOf.
func NicknameOf(all []Grant, g Grant) string { return nicknameOf(all, g) }
