/** The text of the log that is selected, line by line: without gutters, marks and buttons. */
export function selectedLogText(container: HTMLElement): string | null {
  const selection = getSelection();
  if (!selection || selection.isCollapsed || selection.rangeCount === 0) return null;
  const selected = selection.getRangeAt(0);
  if (!selected.intersectsNode(container)) return null;
  const lines: string[] = [];
  for (const row of container.querySelectorAll('[data-row]')) {
    const text = row.querySelector('.text');
    if (!text || !selected.intersectsNode(text)) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    if (text.contains(selected.startContainer)) range.setStart(selected.startContainer, selected.startOffset);
    if (text.contains(selected.endContainer)) range.setEnd(selected.endContainer, selected.endOffset);
    const content = range.cloneContents();
    for (const mark of content.querySelectorAll('[data-mark]')) mark.remove();
    lines.push(content.textContent);
  }
  return lines.length === 0 ? null : lines.join('\n');
}

/** Rows (first and last index) that the selection touches; null: it is elsewhere or empty. */
export function selectedRows(container: HTMLElement): { from: number; to: number } | null {
  const selection = getSelection();
  if (!selection || selection.isCollapsed) return null;
  const rowOf = (node: Node | null): number | null => {
    const element = node instanceof Element ? node : node?.parentElement;
    const row = element?.closest<HTMLElement>('[data-row]');
    return row && container.contains(row) ? Number(row.dataset.row) : null;
  };
  const ends = [rowOf(selection.anchorNode), rowOf(selection.focusNode)].filter((row) => row !== null);
  return ends.length === 0 ? null : { from: Math.min(...ends), to: Math.max(...ends) };
}
