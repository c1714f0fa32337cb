package grants

import "context"

// Written returns a notice with its mail.
func Written(p *Policy, n Notice) Notice { return p.written(context.Background(), n) }
