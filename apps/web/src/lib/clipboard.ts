/** Writes to the clipboard, also where the page was not served over HTTPS. */
export async function copyText(text: string): Promise<void> {
  // Undefined outside secure contexts, whatever the type says.
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (clipboard) {
    await clipboard.writeText(text);
    return;
  }
  const carry = (event: ClipboardEvent): void => {
    event.preventDefault();
    event.stopImmediatePropagation();
    event.clipboardData?.setData('text/plain', text);
  };
  document.addEventListener('copy', carry, { capture: true, once: true });
  // The only way where the page is served over plain HTTP from another machine.
  // eslint-disable-next-line @typescript-eslint/no-deprecated
  const copied = document.execCommand('copy');
  document.removeEventListener('copy', carry, { capture: true });
  if (!copied) throw new Error('The browser refused to copy.');
}
