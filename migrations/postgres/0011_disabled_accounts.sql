-- An operator can disable an account (chatctl): its sessions end and it cannot log in.
ALTER TABLE account ADD COLUMN disabled_at TIMESTAMPTZ;
