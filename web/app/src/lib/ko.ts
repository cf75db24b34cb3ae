import type { Texts } from './en.ts';

export const ko: Texts = {
  tagline: '아무것도 잃어버리지 않는 대화방.',
  login: '로그인', signup: '가입하기', logout: '로그아웃', name: '이름', password: '비밀번호',
  nameHint: '3~32자: 영문 소문자, 숫자, 점, 붙임표, 밑줄', passwordHint: '8자 이상',
  noAccount: '계정이 없으신가요?', haveAccount: '계정이 있으신가요?',
  rooms: '대화방', newRoom: '새 대화방', roomName: '대화방 이름', roomHint: '모든 문자와 숫자, - 와 _',
  create: '만들기', noRooms: '아직 대화방이 없습니다. 첫 번째 방을 만들어 보세요.', search: '대화방 찾기',
  message: '메시지', send: '보내기', attach: '파일 첨부', online: '명 접속 중', people: '접속한 사람',
  sending: '보내는 중…', failed: '보내지 못함', retry: '다시 시도', cancel: '취소', older: '이전 메시지',
  newMessages: '새 메시지', joined: '님이 들어왔습니다', left: '님이 나갔습니다', removed: '님이 내보내졌습니다', you: '나', notice: '공지',
  deleteRoom: '대화방 삭제', deleteAsk: '모두에게서 이 대화방을 삭제할까요? 메시지와 파일도 함께 사라집니다.', remove: '삭제',
  roomDeleted: '이 대화방은 삭제되었습니다.', back: '모든 대화방', connecting: '연결하는 중…', reconnecting: '연결이 끊겼습니다. 다시 연결하는 중…',
  noAnswer: '서버가 응답하지 않습니다. 다시 시도하는 중…',
  ended: '연결이 종료되었습니다.', download: '내려받기', uploading: '올리는 중', theme: '밝게 / 어둡게', language: 'English',
  yourName: '이 방에서의 이름', save: '저장', empty: '아직 아무 말도 없습니다.', notFound: '여기에는 아무것도 없습니다.',
  today: '오늘', close: '닫기', newTab: '새 탭에서 열기', notShown: '이 브라우저에서 표시할 수 없습니다. 새 탭에서 열어 주세요.', toEnd: '맨 아래로',
};
export const koEnds: Record<string, string> = {
  'room-deleted': ko.roomDeleted, removed: '이 대화방에서 내보내졌습니다.', banned: '이 대화방에 들어올 수 없도록 차단되었습니다.',
  'password-required': '비밀번호가 필요한 대화방입니다. 아직 비밀번호를 입력하지 않았습니다.',
  'no-such-room': '없거나 비공개인 대화방입니다.', 'session-revoked': '로그아웃되었습니다.', 'session-over': '로그아웃되었습니다.',
};
export const koErrors: Record<string, string> = {
  'bad-credentials': '이름 또는 비밀번호가 올바르지 않습니다.', 'name-taken': '이미 사용 중인 이름입니다.', 'room-exists': '같은 이름의 대화방이 있습니다.',
  'no-such-room': '그런 대화방이 없습니다.', 'file-too-large': '파일이 너무 큽니다. 최대 8MiB입니다.', network: '서버에 연결할 수 없습니다.',
  'file-mismatch': '파일 내용이 형식과 다릅니다.', busy: '지금은 처리할 수 없습니다. 잠시 후 다시 시도해 주세요.', 'rate-limited': '조금 천천히 보내 주세요.',
  'too-many-attempts': '시도가 너무 많았습니다. 잠시 후 다시 시도해 주세요.', unavailable: '지금은 서버를 사용할 수 없습니다. 다시 시도해 주세요.', timeout: '서버의 응답이 너무 늦습니다. 다시 시도해 주세요.',
};
